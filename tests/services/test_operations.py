"""Operation ids: the same one again answers what the first run made, on every way of writing, whatever happened since."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from interlock.entities.ticket import Ticket
from interlock.errors import Conflict, Forbidden, Invalid
from interlock.identifiers import derived_id, is_id, new_id

from .harness import World

pytestmark = [pytest.mark.anyio, pytest.mark.clock]


def test_derived_ids() -> None:
    minted = new_id()
    assert is_id(derived_id("op", "customers"))
    assert is_id(derived_id("\ud800", "customers"))
    assert derived_id(minted, "customers")[:13] == minted[:13]
    others = {derived_id(op, resource, place) for op in ("a", "b") for resource in ("x", "y") for place in (0, 1)}
    assert len(others) == 8


async def counted(world: World) -> int | None:
    return (await world.manager.audit.list(limit=1, count="exact")).total


async def test_creating_without_an_id(world: World) -> None:
    customers = world.manager.customers
    first = await customers.create(company_name="A", operation_id="op-1")
    assert await customers.create(company_name="A", operation_id="op-1") == first
    with pytest.raises(Invalid, match="operation_id"):
        await customers.create(company_name="B", operation_id="op-1")
    rows = [{"company_name": "B"}, {"company_name": ""}, {"company_name": "C"}]
    outcomes = await customers.bulk_create(rows, operation_id="op-2")
    again = await customers.bulk_create(rows, operation_id="op-2")
    assert [outcome.row for outcome in again] == [outcome.row for outcome in outcomes]
    assert (await customers.list(count="exact")).total == 3


async def test_creating_where_the_rules_read_the_clock(world: World) -> None:
    tickets, contracts = world.agent.tickets, world.agent.contracts
    customer, today = await world.agent.customers.create(company_name="A"), world.clock.today
    ticket = await tickets.create(subject="T", status="resolved", operation_id="op-1")
    struct = await tickets.create(Ticket(subject="S", status="resolved"), operation_id="op-2")
    fields: dict[str, Any] = {"customer_id": customer.id, "title": "C", "status": "active", "value": Decimal("1.50")}
    contract = await contracts.create(fields, operation_id="op-3")
    before = await counted(world)
    world.clock.advance(days=2)
    assert await tickets.create(subject="T", status="resolved", operation_id="op-1") == ticket
    assert await tickets.create(Ticket(subject="S", status="resolved"), operation_id="op-2") == struct
    assert await contracts.create(fields, operation_id="op-3") == contract
    assert contract.start_date == today
    assert await counted(world) == before
    with pytest.raises(Invalid, match="operation_id"):
        await tickets.create(subject="Other", status="resolved", operation_id="op-1")


async def test_creating_where_what_it_needs_has_gone_since(world: World) -> None:
    viewer = world.users["viewer"].id
    first = await world.agent.tickets.create(subject="T", assigned_to=viewer, operation_id="op-1")
    await world.admin.users.deactivate(viewer)
    assert await world.agent.tickets.create(subject="T", assigned_to=viewer, operation_id="op-1") == first
    with pytest.raises(Invalid, match="not active"):
        await world.agent.tickets.create(subject="T", assigned_to=viewer, operation_id="op-2")


async def test_updating_at_a_version(world: World) -> None:
    tickets = world.agent.tickets
    ticket = await tickets.create(subject="T")
    first = await tickets.update(ticket.id, status="resolved", expected_version=1, operation_id="op-1")
    again = await tickets.update(ticket.id, status="resolved", expected_version=1, operation_id="op-1")
    assert again == first
    with pytest.raises(Conflict):
        await tickets.update(ticket.id, status="closed", expected_version=1, operation_id="op-2")


async def test_bulk_updates(world: World) -> None:
    tickets = world.manager.tickets
    made = [(await tickets.create(subject="T")).id for _ in range(3)]
    await tickets.bulk_update(made, {"status": "resolved"}, operation_id="op-1")
    await tickets.bulk_update(made[:1], {"status": "open"})
    before = await counted(world)
    outcomes = await tickets.bulk_update(made, {"status": "resolved"}, operation_id="op-1")
    assert [outcome.ok for outcome in outcomes] == [True, True, True]
    assert await counted(world) == before
    assert (await tickets.get(made[0])).status == "open"


async def test_who_may_not_is_told_so_even_on_replay(world: World) -> None:
    await world.agent.tickets.create(subject="T", operation_id="op-1")
    with pytest.raises(Forbidden):
        await world.viewer.tickets.create(subject="T", operation_id="op-1")


async def test_operations_belong_to_their_tenant(world: World) -> None:
    await world.populate("globex")
    own = await world.agent.tickets.create(subject="T", status="resolved", operation_id="op-1")
    foreign = await world.as_("globex.agent").tickets.create(subject="T", status="resolved", operation_id="op-1")
    tenants = [world.identities[who].tenant_id for who in ("agent", "globex.agent")]
    assert [own.tenant_id, foreign.tenant_id] == tenants
    assert own.id == foreign.id
