"""The dashboard: figures that are right, and the same from the backend and from the reference."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from interlock.contract import Aggregate, GroupBy, Measure, Request, Response
from interlock.errors import Invalid, Unsupported
from interlock.services import Services
from interlock.services.dashboard import Money, Revenue, TicketLoad
from interlock.services.figures import Figures, figures
from interlock.services.rules import add_months

from .harness import ALL, World

pytestmark = [pytest.mark.anyio, pytest.mark.clock]


class WithoutAggregates:
    """A backend that answers no aggregate, such as a plain REST API."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def handle(self, request: Request) -> Response:
        if request.verb == "aggregate":
            raise Unsupported("plain", "aggregate")
        return await self.inner.handle(request)  # type: ignore[no-any-return]  # it wraps any backend


async def fill(world: World, seed: int = 7) -> None:
    chance, today = random.Random(seed), world.clock.today
    services = world.as_("system")
    stages = await services.sales.create_default_stages()
    users = [world.users[who].id for who in ("agent", "manager")]
    outcomes = await services.customers.bulk_create(
        {
            "company_name": f"C{number}",
            "industry": chance.choice(["Mining", "Ärzte", "mining", None]),
            "status": chance.choice(["lead", "active"]),
            "size": chance.choice(["small", None]),
        }
        for number in range(30)
    )
    customers = [outcome.id for outcome in outcomes]
    for number in range(60):
        stage = chance.choice(stages)
        await services.sales.create(
            title=f"D{number}",
            customer_id=chance.choice(customers),
            stage_id=stage.id,
            amount=Decimal(chance.randrange(10**7)) / 10_000,
            currency=chance.choice(["EUR", "USD"]),
            expected_close=chance.choice([None, today + timedelta(days=chance.randrange(-330, 40))]),
            lost_reason="price" if stage.type == "lost" else None,
        )
    for number in range(40):
        world.clock.advance(seconds=1)
        await services.tickets.create(
            subject=f"T{number}",
            status=chance.choice(["open", "in_progress", "waiting", "resolved", "closed"]),
            assigned_to=chance.choice([*users, None]),
            due_at=chance.choice([None, world.clock.now + timedelta(days=chance.randrange(-5, 5))]),
        )
    for number in range(30):
        await services.contracts.create(
            title=f"C{number}",
            customer_id=chance.choice(customers),
            status=chance.choice(["draft", "active"]),
            value=Decimal(chance.randrange(10**6)) / 100,
            currency=chance.choice(["EUR", "USD"]),
            start_date=date(2025, 1, 1),
            end_date=chance.choice([None, today + timedelta(days=chance.randrange(-3, 97))]),
            renewal=chance.choice(["none", "manual"]),
        )
    await services.notifications.create(user_id=world.users["viewer"].id, kind="note", title="Hello")


async def everything(services: Services) -> list[Any]:
    dashboard = services.dashboard
    return [
        await dashboard.stats(),
        await dashboard.revenue_by_month(),
        await dashboard.pipeline(),
        await dashboard.ticket_load(),
        await dashboard.customers_by_industry(),
        await dashboard.renewals_due(),
        await dashboard.recent_activity(),
        await services.sales.forecast(),
        await services.customers.sizes(),
    ]


async def test_backend_and_reference_agree(world: World) -> None:
    await fill(world)
    by_backend = await everything(world.viewer)
    world.serve(WithoutAggregates(world.backend), "plain", *ALL)
    assert await everything(world.viewer) == by_backend
    assert all(by_backend)


@pytest.mark.parametrize(
    ("resource", "group_by", "measures"),
    [
        ("deals", (), (Measure("count"), Measure("min", "amount"), Measure("max", "expected_close"))),
        ("deals", ("currency",), (Measure("sum", "amount"), Measure("min", "lost_reason"), Measure("max", "title"))),
        ("deals", (GroupBy("expected_close", "year"), "currency"), (Measure("sum", "amount"),)),
        ("deals", (GroupBy("created_at", "day"), "stage_id"), (Measure("sum", "probability"),)),
        ("customers", ("industry", "size"), (Measure("count"),)),
        ("tickets", ("assigned_to", GroupBy("due_at", "day")), (Measure("min", "due_at"), Measure("sum", "number"))),
    ],
)
async def test_every_aggregate_agrees(
    world: World, resource: str, group_by: tuple[Any, ...], measures: tuple[Measure, ...]
) -> None:
    await fill(world)
    service = world.viewer.of(resource)
    by_backend = await service.aggregate(group_by, measures)
    world.serve(WithoutAggregates(world.backend), "plain", *ALL)
    assert await figures(service, group_by, measures) == by_backend
    assert by_backend


def test_of_nothing_there_is_one_group_without_key() -> None:
    (row,) = Figures(Aggregate((), (Measure("count"), Measure("sum", "amount")))).rows()
    assert (row.key, row.values) == ((), (0, None))
    assert Figures(Aggregate((GroupBy("currency"),))).rows() == ()


async def test_stats_count_what_they_say(world: World) -> None:
    services = world.manager
    stages: dict[str, str] = {stage.type: stage.id for stage in await services.sales.create_default_stages()}
    customer = (await services.customers.create(company_name="A", status="active")).id
    await services.customers.create(company_name="B")
    for stage, amount, currency in (
        ("open", "1.10", "EUR"),
        ("ongoing", "2.20", "EUR"),
        ("open", "5", "USD"),
        ("won", "9", "EUR"),
    ):
        await services.sales.create(
            title="D", customer_id=customer, stage_id=stages[stage], amount=Decimal(amount), currency=currency
        )
    now = world.clock.now
    await services.tickets.create(subject="T", due_at=now - timedelta(days=1))
    await services.tickets.create(subject="T", status="closed", due_at=now - timedelta(days=1))
    await services.contracts.create(title="C", customer_id=customer, status="active", value=Decimal("0.3"))
    stats = await services.dashboard.stats()
    assert (stats.customers, stats.active_customers) == (2, 1)
    assert (stats.open_deals, stats.open_deal_value) == (3, (Money("EUR", Decimal("3.3")), Money("USD", Decimal(5))))
    assert (stats.open_tickets, stats.overdue_tickets) == (1, 1)
    assert (stats.active_contracts, stats.active_contract_value) == (1, (Money("EUR", Decimal("0.3")),))
    assert await services.dashboard.revenue_by_month(1) == (Revenue(f"{now:%Y-%m}", "EUR", 1, Decimal(9)),)
    assert await services.dashboard.ticket_load() == (TicketLoad(None, "open", 1),)


async def test_revenue_is_of_the_months_asked_for(world: World) -> None:
    services = world.manager
    won = next(stage.id for stage in await services.sales.create_default_stages() if stage.type == "won")
    customer = (await services.customers.create(company_name="A")).id
    this, day = world.clock.today.replace(day=1), timedelta(days=1)
    last, following = add_months(this, -1), add_months(this, 1)
    for close in (last - day, last, following - day, following):
        await services.sales.create(
            title="D", customer_id=customer, stage_id=won, amount=Decimal(1), expected_close=close
        )
    months = [row.month for row in await services.dashboard.revenue_by_month(2)]
    assert months == [f"{last:%Y-%m}", f"{this:%Y-%m}"]
    with pytest.raises(Invalid, match="months"):
        await services.dashboard.revenue_by_month(0)


async def test_recent_activity(world: World) -> None:
    services = world.manager
    customer = await services.customers.create(company_name="A")
    world.clock.advance(hours=1)
    ticket = await services.tickets.create(subject="T")
    world.clock.advance(hours=1)
    await services.customers.update(customer.id, city="Bonn")
    first, second = await world.viewer.dashboard.recent_activity()
    assert (first.resource, first.title, first.kind, first.by) == (
        "customers",
        "A",
        "updated",
        world.users["manager"].id,
    )
    assert (second.record_id, second.kind) == (ticket.id, "created")
    assert len(await world.viewer.dashboard.recent_activity(1)) == 1
