"""Sales: the probability follows the stage, lost says why, sums are exact and by currency."""

from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal

import pytest

from interlock.entities.deal import Stage
from interlock.errors import Forbidden, Invalid
from interlock.services.sales import DEFAULT_STAGES, ForecastRow

from .harness import World

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stages(world: World) -> dict[str, Stage]:
    return {stage.label: stage for stage in await world.manager.sales.create_default_stages()}


@pytest.fixture
async def customer(world: World) -> str:
    return (await world.agent.customers.create(company_name="Acme")).id


async def test_default_stages_are_made_once(world: World) -> None:
    both = await asyncio.gather(
        world.manager.sales.create_default_stages(), world.manager.sales.create_default_stages()
    )
    stages = await world.manager.sales.create_default_stages()
    assert [stage.label for stage in stages] == [label for label, _, _ in DEFAULT_STAGES]
    assert stages in both
    with pytest.raises(Forbidden):
        await world.agent.of("stages").create(label="Mine")


@pytest.mark.clock
async def test_moving(world: World, stages: dict[str, Stage], customer: str) -> None:
    sales = world.agent.sales
    deal = await sales.create(title="D", customer_id=customer, stage_id=stages["New"].id, amount=Decimal(100))
    assert deal.probability == 10
    moved = await sales.move(deal.id, stages["Proposal"].id)
    assert moved.probability == 50
    with pytest.raises(Invalid, match="lost_reason: is required"):
        await sales.move(deal.id, stages["Lost"].id)
    with pytest.raises(Invalid, match="lost_reason: is required"):
        await sales.update(deal.id, stage_id=stages["Lost"].id, lost_reason=" ")
    lost = await sales.move(deal.id, stages["Lost"].id, lost_reason="price")
    assert (lost.probability, lost.lost_reason) == (0, "price")
    with pytest.raises(Invalid, match="lost_reason"):
        await sales.update(deal.id, lost_reason=None)
    back = await sales.move(deal.id, stages["Negotiation"].id)
    assert (back.probability, back.lost_reason) == (75, None)
    won = await sales.move(deal.id, stages["Won"].id)
    assert (won.probability, won.expected_close) == (100, world.clock.today)


async def test_a_probability_of_ones_own_stands_until_the_stage_changes(
    world: World, stages: dict[str, Stage], customer: str
) -> None:
    sales = world.agent.sales
    deal = await sales.create(title="D", customer_id=customer, stage_id=stages["New"].id, probability=33)
    assert deal.probability == 33
    assert (await sales.update(deal.id, probability=44)).probability == 44
    # What a form sends back with a new stage is the old probability.
    assert (await sales.update(deal.id, stage_id=stages["Proposal"].id, probability=44)).probability == 50
    assert (await sales.update(deal.id, stage_id=stages["New"].id, probability=12)).probability == 12
    with pytest.raises(Invalid, match="probability: is 100"):
        await sales.update(deal.id, stage_id=stages["Won"].id, probability=99)


async def test_creating_keeps_the_rules(world: World, stages: dict[str, Stage], customer: str) -> None:
    sales = world.agent.sales
    with pytest.raises(Invalid, match="lost_reason: is required"):
        await sales.create(title="D", customer_id=customer, stage_id=stages["Lost"].id)
    with pytest.raises(Invalid, match="lost_reason: is for lost deals"):
        await sales.create(title="D", customer_id=customer, stage_id=stages["New"].id, lost_reason="price")
    with pytest.raises(Invalid, match="stage_id"):
        await sales.create(title="D", customer_id=customer, stage_id=customer)
    outcomes = await world.manager.sales.bulk_create(
        [
            {"title": "a", "customer_id": customer, "stage_id": stages["Lost"].id},
            {"title": "b", "customer_id": customer, "stage_id": stages["Won"].id},
        ]
    )
    assert [outcome.ok for outcome in outcomes] == [False, True]
    assert outcomes[1].row.probability == 100  # type: ignore[union-attr]  # it was written


@pytest.mark.clock
async def test_a_replayed_move_writes_nothing(world: World, stages: dict[str, Stage], customer: str) -> None:
    sales = world.agent.sales
    deal = await sales.create(title="D", customer_id=customer, stage_id=stages["New"].id)
    won = await sales.move(deal.id, stages["Won"].id, operation_id="move-1")
    assert await sales.move(deal.id, stages["Won"].id, operation_id="move-1") == won
    back = await sales.move(deal.id, stages["New"].id)
    assert await sales.move(deal.id, stages["Won"].id, operation_id="move-1") == back


async def test_racing_moves_leave_a_lost_deal_with_its_reason(
    world: World, stages: dict[str, Stage], customer: str
) -> None:
    sales = world.agent.sales
    for _ in range(5):
        deal = await sales.create(title="D", customer_id=customer, stage_id=stages["New"].id)
        await asyncio.gather(
            sales.move(deal.id, stages["Lost"].id, lost_reason="price"),
            sales.move(deal.id, stages["Won"].id),
        )
        final = await sales.get(deal.id)
        expected = (0, "price") if final.stage_id == stages["Lost"].id else (100, None)
        assert (final.probability, final.lost_reason) == expected


async def test_pipeline_is_by_stage_and_currency(world: World, stages: dict[str, Stage], customer: str) -> None:
    sales = world.agent.sales
    for amount, currency, stage in (
        ("0.1", "EUR", "New"),
        ("0.2", "EUR", "New"),
        ("7", "USD", "New"),
        ("1000.01", "EUR", "Proposal"),
    ):
        await sales.create(
            title="D", customer_id=customer, stage_id=stages[stage].id, amount=Decimal(amount), currency=currency
        )
    rows = await world.viewer.sales.pipeline()
    assert [(row.label, row.currency, row.count, row.amount, row.weighted) for row in rows if row.count] == [
        ("New", "EUR", 2, Decimal("0.3"), Decimal("0.03")),
        ("New", "USD", 1, Decimal("7"), Decimal("0.7")),
        ("Proposal", "EUR", 1, Decimal("1000.01"), Decimal("500.005")),
    ]
    assert [row.label for row in rows if not row.count] == ["Qualified", "Negotiation", "On hold", "Won", "Lost"]


@pytest.mark.clock
async def test_forecast_is_weighted_by_month_and_currency(
    world: World, stages: dict[str, Stage], customer: str
) -> None:
    sales = world.agent.sales
    for amount, close, stage, more in (
        ("100", date(2026, 12, 1), "Proposal", {}),
        ("50.50", date(2026, 12, 31), "New", {}),
        ("10", date(2027, 1, 1), "New", {"currency": "USD"}),
        ("1", None, "New", {}),
        ("999", date(2026, 12, 1), "Won", {}),
        ("999", date(2026, 12, 1), "Lost", {"lost_reason": "price"}),
    ):
        await sales.create(
            title="D",
            customer_id=customer,
            stage_id=stages[stage].id,
            amount=Decimal(amount),
            expected_close=close,
            **more,
        )
    assert await world.viewer.sales.forecast() == (
        ForecastRow("2026-12", "EUR", 2, Decimal("150.50"), Decimal("55.05")),
        ForecastRow("2027-01", "USD", 1, Decimal(10), Decimal(1)),
        ForecastRow(None, "EUR", 1, Decimal(1), Decimal("0.1")),
    )


async def test_stages_mean_what_their_type_says(world: World, stages: dict[str, Stage], customer: str) -> None:
    records = world.manager.of("stages")
    assert (await records.create(label="Signed", type="won")).probability == 100
    with pytest.raises(Invalid, match="probability: is 0"):
        await records.create(label="Gone", type="lost", probability=5)
    assert (await records.update(stages["New"].id, type="lost")).probability == 0
    with pytest.raises(Invalid, match="probability"):
        await records.update(stages["Won"].id, probability=50)
    await world.agent.sales.create(title="D", customer_id=customer, stage_id=stages["Proposal"].id)
    with pytest.raises(Invalid, match="move them first"):
        await records.delete(stages["Proposal"].id)
    await records.delete(stages["Qualified"].id)
