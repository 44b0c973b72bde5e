"""Contracts: dates that make sense, declared moves, renewals."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from interlock.errors import Invalid
from interlock.services.contracts import TRANSITIONS
from interlock.services.rules import add_months

from .harness import World

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)
STATUSES = tuple(TRANSITIONS.table)


@pytest.fixture
async def customer(world: World) -> str:
    return (await world.agent.customers.create(company_name="Acme")).id


@pytest.mark.parametrize("new", STATUSES)
@pytest.mark.parametrize("old", STATUSES)
async def test_every_move_is_declared_or_refused(world: World, customer: str, old: str, new: str) -> None:
    contracts = world.agent.contracts
    contract = await contracts.create(customer_id=customer, title="C", status=old)
    if new == old or new in TRANSITIONS.table[old]:
        assert (await contracts.update(contract.id, status=new)).status == new
    else:
        with pytest.raises(Invalid, match=f"cannot go from {old} to {new}"):
            await contracts.update(contract.id, status=new)


@pytest.mark.clock
async def test_dates(world: World, customer: str) -> None:
    contracts, today = world.agent.contracts, world.clock.today
    with pytest.raises(Invalid, match="before the start"):
        await contracts.create(customer_id=customer, title="C", start_date=today, end_date=today - DAY)
    contract = await contracts.create(customer_id=customer, title="C", end_date=today + 30 * DAY)
    assert contract.start_date is None
    active = await contracts.update(contract.id, status="active")
    assert active.start_date == today
    with pytest.raises(Invalid, match="before the start"):
        await contracts.update(contract.id, end_date=today - DAY)
    with pytest.raises(Invalid, match="before the start"):
        await contracts.update(contract.id, start_date=today + 31 * DAY)
    assert await contracts.get(contract.id) == active


@pytest.mark.clock
async def test_expiring(world: World, customer: str) -> None:
    contracts = world.agent.contracts

    async def make(days: int, status: str = "active") -> str:
        end = world.clock.today + days * DAY
        start = date(2020, 1, 1)
        return (
            await contracts.create(customer_id=customer, title="C", status=status, start_date=start, end_date=end)
        ).id

    in_30, today = await make(30), await make(0)
    for days, status in ((31, "active"), (-1, "active"), (5, "draft"), (5, "terminated")):
        await make(days, status)
    page = await contracts.expiring(30)
    assert [contract.id for contract in page] == [today, in_30]
    with pytest.raises(Invalid, match="days"):
        await contracts.expiring(-1)


@pytest.mark.clock
async def test_renewing(world: World, customer: str) -> None:
    contracts, year = world.agent.contracts, world.clock.today.year + 1
    last_of_january, last_of_february = date(year, 1, 31), date(year, 3, 1) - DAY
    contract = await contracts.create(
        customer_id=customer, title="C", status="active", start_date=date(2025, 1, 31), end_date=last_of_january
    )
    renewed = await contracts.renew(contract.id, months=1, value=Decimal("12.50"))
    assert (renewed.end_date, renewed.value) == (last_of_february, Decimal("12.50"))
    with pytest.raises(Invalid, match="give a later day"):
        await contracts.renew(contract.id, end_date=last_of_february)
    await contracts.update(contract.id, status="expired")
    assert (await contracts.renew(contract.id)).status == "active"


@pytest.mark.clock
async def test_an_expired_contract_goes_on_from_today(world: World, customer: str) -> None:
    contract = await world.agent.contracts.create(
        customer_id=customer, title="C", status="expired", start_date=date(2020, 1, 1), end_date=date(2021, 1, 1)
    )
    assert (await world.agent.contracts.renew(contract.id)).end_date == add_months(world.clock.today, 12)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"renewal": "none", "status": "active", "end_date": date(2020, 1, 1)}, "renewal"),
        ({"status": "draft", "end_date": date(2020, 1, 1)}, "status"),
        ({"status": "terminated", "end_date": date(2020, 1, 1)}, "status"),
        ({"status": "active"}, "end_date"),
    ],
)
async def test_what_is_not_renewed(world: World, customer: str, fields: dict[str, Any], field: str) -> None:
    contract = await world.agent.contracts.create(customer_id=customer, title="C", **fields)
    with pytest.raises(Invalid) as caught:
        await world.agent.contracts.renew(contract.id)
    assert set(caught.value.fields) == {field}


@pytest.mark.clock
async def test_a_replayed_renewal_renews_once(world: World, customer: str) -> None:
    contracts, end = world.agent.contracts, world.clock.today + 30 * DAY
    contract = await contracts.create(customer_id=customer, title="C", status="active", end_date=end)
    first = await contracts.renew(contract.id, operation_id="renew-1")
    assert first.end_date == add_months(end, 12)
    assert await contracts.renew(contract.id, operation_id="renew-1") == first
    assert (await contracts.renew(contract.id, operation_id="renew-2")).end_date == add_months(first.end_date, 12)


@pytest.mark.clock
async def test_two_renewals_at_once_both_count(world: World, customer: str) -> None:
    contracts, end = world.agent.contracts, world.clock.today + 30 * DAY
    contract = await contracts.create(customer_id=customer, title="C", status="active", end_date=end)
    await asyncio.gather(*(contracts.renew(contract.id) for _ in range(3)))
    for _ in range(3):
        end = add_months(end, 12)
    assert (await contracts.get(contract.id)).end_date == end


@pytest.mark.clock
async def test_terminating(world: World, customer: str) -> None:
    contracts, today = world.agent.contracts, world.clock.today
    contract = await contracts.create(customer_id=customer, title="C", status="active", start_date=date(2025, 1, 1))
    ended = await contracts.terminate(contract.id, operation_id="end-1")
    assert (ended.status, ended.end_date) == ("terminated", today)
    assert await contracts.terminate(contract.id, operation_id="end-1") == ended
    future = await contracts.create(customer_id=customer, title="C", start_date=today + 30 * DAY)
    assert (await contracts.terminate(future.id)).end_date == today + 30 * DAY
    other = await contracts.create(customer_id=customer, title="C", start_date=today + 30 * DAY)
    with pytest.raises(Invalid, match="before the start"):
        await contracts.terminate(other.id, on=today + 29 * DAY)


def test_months() -> None:
    assert add_months(date(2024, 1, 31), 1) == date(2024, 2, 29)
    assert add_months(date(2026, 11, 23), -11) == date(2025, 12, 23)
    with pytest.raises(Invalid, match="months"):
        add_months(date(9999, 12, 1), 1)
