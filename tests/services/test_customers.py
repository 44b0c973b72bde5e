"""Customers: tags, figures, neighbours, duplicates, and making one of two."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from interlock.contract import Point, Request, Response
from interlock.errors import Duplicate, Invalid, NotFound, Unavailable
from interlock.services.customers import Tally

from .harness import ALL, World

pytestmark = pytest.mark.anyio


# -- tags -----------------------------------------------------------------------------------------------------------


@pytest.mark.clock
async def test_tagging(world: World) -> None:
    customers = world.agent.customers
    await customers.create_tag("VIP", "#ff0000")
    with pytest.raises(Duplicate):
        await customers.create_tag("vip")
    customer = await customers.create(company_name="Acme")
    tagged = await customers.tag(customer.id, "vip", "new", "New")
    assert tagged.tags == ("VIP", "new")
    assert await customers.tag(customer.id, "NEW") == tagged
    assert [tag.name for tag in await world.viewer.customers.tags()] == ["VIP", "new"]
    assert (await customers.untag(customer.id, "Vip", "absent")).tags == ("new",)
    assert [row.id for row in await customers.list(tags__contains="new")] == [customer.id]


async def test_tags_get_their_records_and_spelling_on_every_way_in(world: World) -> None:
    customers = world.manager.customers
    await customers.create_tag("Gold")
    assert (await customers.create(company_name="A", tags=("gold", "GOLD", "b"))).tags == ("Gold", "b")
    outcomes = await customers.bulk_create([{"company_name": "B", "tags": ["gOLD", "c"]}, {"company_name": "C"}])
    assert [outcome.row.tags for outcome in outcomes] == [("Gold", "c"), ()]  # type: ignore[union-attr]  # both were written
    row = outcomes[1].row
    assert row is not None
    assert (await customers.update(row.id, tags=["C", "d"])).tags == ("c", "d")
    assert [tag.name for tag in await customers.tags()] == ["Gold", "b", "c", "d"]


async def test_tagging_at_once_loses_none(world: World) -> None:
    customers = world.agent.customers
    customer = await customers.create(company_name="Acme")
    await asyncio.gather(*(world.agent.customers.tag(customer.id, f"t{number}") for number in range(5)))
    assert set((await customers.get(customer.id)).tags) == {f"t{number}" for number in range(5)}


async def test_a_tag_in_use_keeps_its_name_and_stays(world: World) -> None:
    customer = await world.manager.customers.create(company_name="Acme", tags=("used",))
    (tag,) = await world.manager.customers.tags()
    tags = world.manager.of("tags")
    with pytest.raises(Invalid, match="untag them first"):
        await tags.update(tag.id, name="other")
    with pytest.raises(Invalid, match="untag them first"):
        await tags.delete(tag.id)
    assert (await tags.update(tag.id, color="#000000", name="used")).color == "#000000"
    await world.manager.customers.untag(customer.id, "used")
    assert (await tags.delete(tag.id)).deleted_at is not None


# -- figures --------------------------------------------------------------------------------------------------------


async def test_industries_and_sizes(world: World) -> None:
    customers = world.agent.customers
    for industry, size in (("Mining", "small"), ("Mining", "large"), ("Ärzte", "small"), (None, None)):
        await customers.create(company_name="A", industry=industry, size=size)
    assert await world.viewer.customers.industries() == (Tally("Mining", 2), Tally("Ärzte", 1))
    assert await world.viewer.customers.sizes() == (Tally("large", 1), Tally("small", 2))


async def test_nearby(world: World) -> None:
    customers = world.agent.customers
    berlin, potsdam, munich = [
        await customers.create(company_name=name, location=Point(lat, lon))
        for name, lat, lon in (("B", 52.52, 13.405), ("P", 52.39, 13.064), ("M", 48.137, 11.575))
    ]
    page = await world.viewer.customers.nearby(52.52, 13.405, 50)
    assert [row.id for row in page] == [berlin.id, potsdam.id]
    assert munich.id in {row.id for row in await customers.nearby(52.52, 13.405, 600)}
    with pytest.raises(Invalid, match="near"):
        await customers.nearby(100, 0, 1)


# -- duplicates -----------------------------------------------------------------------------------------------------


async def test_find_duplicates(world: World) -> None:
    customers = world.agent.customers

    async def make(name: str, **fields: str) -> str:
        return (await customers.create(company_name=name, **fields)).id

    acme, acme_inc = await make("Acme", phone="+49 30 1234567"), await make("ACME, Inc.", phone="030 1234567")
    cafe, cafe_plain = await make("Café Münster"), await make("Cafe Munster GmbH")
    jo, jo_plus = await make("One", email="jo.doe@x.test"), await make("Two", email="jodoe+crm@X.test")
    typo, right = await make("Northwind Traders"), await make("Northwind Tradrs")
    await make("Something else", phone="12")
    await make("Another thing", phone="12")
    found = {frozenset((pair.first_id, pair.second_id)): pair for pair in await customers.find_duplicates()}
    assert set(found) == {
        frozenset(pair) for pair in ((acme, acme_inc), (cafe, cafe_plain), (jo, jo_plus), (typo, right))
    }
    assert found[frozenset((acme, acme_inc))].reasons == ("name", "phone")
    assert found[frozenset((jo, jo_plus))].reasons == ("email",)
    assert 0.85 <= found[frozenset((typo, right))].score < 1
    assert [pair.score for pair in await customers.find_duplicates(limit=1)] == [1.0]
    with pytest.raises(Invalid, match="threshold"):
        await customers.find_duplicates(threshold=0.1)


# -- merge ----------------------------------------------------------------------------------------------------------


async def populated(world: World) -> tuple[str, str, str]:
    services = world.manager
    stage = (await services.sales.create_default_stages())[0]
    winner = await services.customers.create(company_name="Acme", city="Berlin", tags=("a",))
    first = await services.customers.create(
        company_name="ACME", city="Bonn", email="info@acme.test", phone="1", tags=("A", "b")
    )
    second = await services.customers.create(company_name="Acme Inc", phone="2", country="DE", email="x@acme.test")
    for customer in (winner, first, second):
        await services.sales.create(title="D", customer_id=customer.id, stage_id=stage.id, amount=Decimal(1))
        await services.tickets.create(subject="T", customer_id=customer.id, status="closed")
        await services.contracts.create(title="C", customer_id=customer.id)
    await services.files.upload("a.txt", b"hello", "text/plain", ("customers", first.id))
    return winner.id, first.id, second.id


async def holders(world: World, customer: str) -> tuple[int, int, int, int]:
    services = world.manager
    return (
        len(await services.sales.list(customer_id=customer)),
        len(await services.tickets.list(customer_id=customer)),
        len(await services.contracts.list(customer_id=customer)),
        len(await services.files.list(owner_id=customer)),
    )


async def test_merge(world: World) -> None:
    winner, first, second = await populated(world)
    result = await world.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    kept = result.winner
    assert result.moved == {"deals": 2, "tickets": 2, "contracts": 2, "files": 1}
    assert (kept.company_name, kept.city, kept.phone, kept.country) == ("Acme", "Berlin", "1", "DE")
    assert (kept.email, kept.tags) == ("info@acme.test", ("a", "b"))
    assert await holders(world, winner) == (3, 3, 3, 1)
    for loser in (first, second):
        assert await holders(world, loser) == (0, 0, 0, 0)
        with pytest.raises(NotFound):
            await world.manager.customers.get(loser)
    trail = (await world.manager.audit.list(limit=1, count="exact")).total
    again = await world.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    assert again.winner == kept
    assert set(again.moved.values()) == {0}
    assert (await world.manager.audit.list(limit=1, count="exact")).total == trail


@pytest.mark.clock
async def test_a_replayed_merge_does_not_fill_what_was_cleared_since(world: World) -> None:
    winner, first, second = await populated(world)
    await world.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    cleared = await world.manager.customers.update(winner, phone=None, email=None, tags=())
    again = await world.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    assert again.winner == cleared


async def test_merging_what_cannot_be_merged(world: World) -> None:
    customers = world.manager.customers
    winner = (await customers.create(company_name="A")).id
    gone = (await customers.create(company_name="B")).id
    await customers.delete(gone)
    for losers in ((), (winner,), "text", [f"c{number}" for number in range(101)]):
        with pytest.raises(Invalid, match="losers"):
            await customers.merge(winner, losers)
    for losers in ((gone,), ("nothing",)):
        with pytest.raises(NotFound):
            await customers.merge(winner, losers)
    with pytest.raises(NotFound):
        await customers.merge(gone, [winner])


class Breaking:
    """A backend that stops answering at its nth write, before or after writing it."""

    def __init__(self, inner: Any, at: int, *, after: bool) -> None:
        self.inner = inner
        self.at = at
        self.after = after
        self.writes = 0

    async def handle(self, request: Request) -> Response:
        if request.verb not in ("create", "update", "delete"):
            return await self.inner.handle(request)  # type: ignore[no-any-return]  # it wraps any backend
        self.writes += 1
        if self.writes == self.at and not self.after:
            raise Unavailable("broken before the write")
        answer = await self.inner.handle(request)
        if self.writes == self.at:
            raise Unavailable("broken after the write")
        return answer  # type: ignore[no-any-return]  # it wraps any backend


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", range(1, 9))
async def test_an_interrupted_merge_goes_on_where_it_stopped(memory: World, at: int, after: bool) -> None:
    winner, first, second = await populated(memory)
    memory.serve(Breaking(memory.backend, at, after=after), "test", *(set(ALL) - {"files"}))
    try:
        await memory.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    except Unavailable:
        interrupted = True
    else:
        interrupted = False
    memory.serve(memory.backend, "test", *ALL)
    result = await memory.manager.customers.merge(winner, [first, second], operation_id="merge-1")
    kept = result.winner
    assert (kept.email, kept.phone, kept.country, kept.tags) == ("info@acme.test", "1", "DE", ("a", "b"))
    assert await holders(memory, winner) == (3, 3, 3, 1)
    assert await holders(memory, first) == await holders(memory, second) == (0, 0, 0, 0)
    assert interrupted == (at <= 7)


async def test_other_tenants_are_not_there_to_merge(world: World) -> None:
    await world.populate("globex")
    foreign = await world.as_("globex.manager").customers.create(company_name="G", tags=("theirs",))
    own = await world.manager.customers.create(company_name="A")
    with pytest.raises(NotFound):
        await world.manager.customers.merge(own.id, [foreign.id])
    with pytest.raises(NotFound):
        await world.manager.customers.tag(foreign.id, "mine")
    assert await world.manager.customers.tags() == ()
    assert (await world.as_("globex.manager").customers.get(foreign.id)) == foreign
