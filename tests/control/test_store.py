"""Admission, outcomes and routes, as one process and as several see them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from interlock.control import Admission, Admitted, Busy, Closed, ControlStore, Ending, Item, Replayed, Reused
from interlock.errors import Misconfigured

pytestmark = pytest.mark.anyio


def admission(operation: str, *records: str, epoch: int = 2, tenant: str = "t", **other: Any) -> Admission:
    items = tuple(Item("customers", record, b"{}") for record in records)
    return Admission("customers", tenant, operation, other.get("fingerprint", operation), epoch, "me", items)


@pytest.mark.clock
async def test_what_is_admitted_is_in_the_journal_with_the_route_it_goes_by(store: ControlStore) -> None:
    found = await store.admit(admission("o1", "a", "b"))
    assert isinstance(found, Admitted)
    assert (found.route.primary, found.route.secondary) == ("real", "supabase")
    entries = await store.entries("customers", "intent")
    assert [entry.seq for entry in entries] == list(found.seqs)
    assert [(e.record_id, e.item, e.epoch, e.primary, e.secondary) for e in entries] == [
        ("a", 0, 2, "real", "supabase"),
        ("b", 1, 2, "real", "supabase"),
    ]


@pytest.mark.clock
async def test_the_same_operation_again_is_answered_from_the_journal(store: ControlStore) -> None:
    found = await store.admit(admission("o1", "a"))
    assert isinstance(found, Admitted)
    again = await store.admit(admission("o1", "a"))
    assert isinstance(again, Replayed)
    assert again.entries[0].status == "intent"
    await store.end(Ending(found.seqs[0], "done", image=b"row", result=b"answer"))
    again = await store.admit(admission("o1", "a"))
    assert isinstance(again, Replayed)
    assert (again.entries[0].status, again.entries[0].result) == ("done", b"answer")
    assert await store.admit(admission("o1", "a", fingerprint="other")) == Reused()
    assert isinstance(await store.admit(admission("o1", "a", tenant="u")), Admitted)


async def test_a_record_takes_one_operation_at_a_time(store: ControlStore) -> None:
    first = await store.admit(admission("o1", "a", "b"))
    assert isinstance(first, Admitted)
    assert await store.admit(admission("o2", "b", "c")) == Busy(("b",))
    assert isinstance(await store.admit(admission("o3", "c")), Admitted)
    assert isinstance(await store.admit(admission("o4", "b", tenant="u")), Admitted)
    await store.end(Ending(first.seqs[1], "rejected", problem="it is not allowed"))
    assert isinstance(await store.admit(admission("o2", "b")), Admitted)


@pytest.mark.clock
async def test_a_closed_route_and_one_of_another_epoch_admit_nobody(store: ControlStore) -> None:
    route = await store.route("customers")
    assert route is not None
    closed = await store.turn(route, open=False)
    assert closed is not None
    assert (closed.open, closed.epoch) == (False, route.epoch + 1)
    assert await store.admit(admission("o1", "a", epoch=closed.epoch)) == Closed(closed)
    turned = await store.turn(closed, open=True, primary="supabase", secondary="real", head=0)
    assert turned is not None
    assert await store.admit(admission("o1", "a", epoch=route.epoch)) == Closed(turned)
    assert isinstance(await store.admit(admission("o1", "a", epoch=turned.epoch)), Admitted)
    assert await store.turn(route, open=True) is None, "somebody else had changed it"


async def test_a_tenants_own_route_is_stronger(store: ControlStore) -> None:
    own = await store.put_route("customers", "mock", "t")
    assert await store.route("customers", "t") == own
    found = await store.admit(admission("o1", "a", epoch=own.epoch))
    assert isinstance(found, Admitted)
    assert found.route == own
    assert isinstance(await store.admit(admission("o1", "a", tenant="u")), Admitted)


@pytest.mark.clock
async def test_an_outcome_is_kept_once(store: ControlStore) -> None:
    found = await store.admit(admission("o1", "a"))
    assert isinstance(found, Admitted)
    seq = found.seqs[0]
    await store.end(Ending(seq, "mirrored"))
    assert [entry.status for entry in await store.entries("customers", "intent")] == ["intent"]
    await store.end(Ending(seq, "done", image=b"1"))
    await store.end(Ending(seq, "rejected", problem="late word of another"))
    await store.end(Ending(seq, "poison", problem="the name is taken"))
    (entry,) = await store.entries("customers", "poison")
    assert (entry.image, entry.problem) == (b"1", "the name is taken")
    await store.end(Ending(seq, "mirrored"))
    (entry,) = await store.entries("customers", "mirrored")
    assert (entry.image, entry.problem) == (b"1", None)


async def test_the_first_pin_stays(store: ControlStore) -> None:
    found = await store.admit(admission("o1", "a"))
    assert isinstance(found, Admitted)
    assert await store.pin(found.seqs[0], 7) == 7
    assert await store.pin(found.seqs[0], 8) == 7


@pytest.mark.clock
async def test_a_store_opened_again_knows_everything(url: str) -> None:
    store = await ControlStore.open(url)
    await store.put_route("customers", "real")
    found = await store.admit(admission("o1", "a", epoch=1))
    await store.aclose()
    again = await ControlStore.open(url)
    assert isinstance(found, Admitted)
    assert [entry.seq for entry in await again.entries("customers", "intent")] == list(found.seqs)
    assert (await again.put_route("customers", "mock")).primary == "real", "the first one stays"
    await again.aclose()


async def test_several_stores_admit_each_operation_once_and_each_record_to_one(url: str, store: ControlStore) -> None:
    """Four stores, as four processes have them, race for ten records while the route is turned under them."""
    others = [await ControlStore.open(url) for _ in range(3)]
    admitted: Counter[str] = Counter()
    closed = turned = 0
    working: set[str] = set()

    async def write(place: int, draw: random.Random) -> None:
        nonlocal closed
        mine = [store, *others][place % 4]
        for n in range(25):
            operation, record = f"{place}-{n}", str(draw.randrange(10))
            while True:
                route = await mine.route("customers")
                assert route is not None
                found = await mine.admit(admission(operation, record, epoch=route.epoch))
                if isinstance(found, Admitted):
                    break
                closed += isinstance(found, Closed)
            assert found.route.open
            assert found.route.epoch == route.epoch
            assert record not in working, "two operations of one record at once"
            working.add(record)
            admitted[operation] += 1
            await asyncio.sleep(0)
            working.remove(record)
            await mine.end(Ending(found.seqs[0], "done"))

    async def turn() -> None:
        nonlocal turned
        while True:
            route = await others[0].route("customers")
            assert route is not None
            turned += await others[0].turn(route, open=not route.open) is not None
            await asyncio.sleep(0)

    turning = asyncio.ensure_future(turn())
    await asyncio.gather(*(write(place, random.Random(place)) for place in range(8)))
    turning.cancel()
    await asyncio.gather(turning, return_exceptions=True)
    entries = await store.entries("customers", "done", limit=1000)
    assert Counter(entry.operation_id for entry in entries) == admitted
    assert set(admitted.values()) == {1}
    assert closed
    assert turned > 2
    for other in others:
        await other.aclose()


async def test_many_admissions_of_one_moment_are_few_transactions(store: ControlStore) -> None:
    commits = 0
    run = store._runner.run

    async def counted(work: Any) -> Any:
        nonlocal commits
        commits += 1
        return await run(work)

    store._runner.run = counted  # type: ignore[method-assign]  # to count
    found = await asyncio.gather(*(store.admit(admission(f"o{n}", f"r{n}")) for n in range(100)))
    assert all(isinstance(one, Admitted) for one in found)
    assert commits == 1


async def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(Misconfigured) as caught:
        await ControlStore.open("mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)
