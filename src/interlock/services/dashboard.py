"""Figures over the other services: computed by their backends where those can, else by the reference, with the same result."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import msgspec

from interlock.contract import GroupBy, Measure, Record, Sort
from interlock.entities.contract import Contract
from interlock.errors import Invalid
from interlock.services.base import Context
from interlock.services.customers import Tally
from interlock.services.figures import figures
from interlock.services.rules import add_months
from interlock.services.sales import PipelineRow
from interlock.services.tickets import OPEN

__all__ = ["Activity", "Dashboard", "Money", "Revenue", "Stats", "TicketLoad"]

_WATCHED: Final = ("customers", "deals", "tickets", "contracts")
_TITLES: Final = ("title", "subject", "company_name")


class Money(msgspec.Struct, frozen=True, rename="camel"):
    """An amount in one currency."""

    currency: str
    amount: Decimal


class Stats(msgspec.Struct, frozen=True, rename="camel"):
    """The tenant at a glance. Amounts are by currency, never across."""

    customers: int
    active_customers: int
    open_deals: int
    open_deal_value: tuple[Money, ...]
    open_tickets: int
    overdue_tickets: int
    active_contracts: int
    active_contract_value: tuple[Money, ...]
    unread_notifications: int


class Revenue(msgspec.Struct, frozen=True, rename="camel"):
    """What the deals won in one month ("2026-11", by `expected_close`; None without a date) brought in, in one currency."""

    month: str | None
    currency: str
    count: int
    amount: Decimal


class TicketLoad(msgspec.Struct, frozen=True, rename="camel"):
    """How many tickets that need work somebody has (None: nobody), by status."""

    assigned_to: str | None
    status: str
    count: int


class Activity(msgspec.Struct, frozen=True, rename="camel"):
    """A record that was made or changed lately."""

    at: datetime
    resource: str
    record_id: str
    title: str
    kind: Literal["created", "updated"]
    by: str | None


class Dashboard:
    """Figures of the tenant, as far as the caller may read."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __repr__(self) -> str:
        return "Dashboard()"

    async def stats(self) -> Stats:
        """The tenant at a glance."""
        services = self.context.services
        now = self.context.now()
        customers, deals, tickets, overdue, contracts, unread = await asyncio.gather(
            figures(services.customers, ("status",)),
            self._open_deals(),
            figures(services.tickets, status__in=OPEN),
            figures(services.tickets, status__in=OPEN, due_at__lt=now),
            figures(services.contracts, ("currency",), (_COUNT, Measure("sum", "value")), status="active"),
            services.notifications.unread_count(),
        )
        return Stats(
            customers=sum(group.values[0] for group in customers),
            active_customers=sum(group.values[0] for group in customers if group.key == ("active",)),
            open_deals=sum(row.count for row in deals),
            open_deal_value=_by_currency((row.currency, row.amount) for row in deals),
            open_tickets=tickets[0].values[0],
            overdue_tickets=overdue[0].values[0],
            active_contracts=sum(group.values[0] for group in contracts),
            active_contract_value=_by_currency((group.key[0], group.values[1]) for group in contracts),
            unread_notifications=unread,
        )

    async def revenue_by_month(self, months: int = 12) -> tuple[Revenue, ...]:
        """Amounts of the won deals of this month and the `months` - 1 before it, by month and currency."""
        if not 1 <= months <= 120:
            raise Invalid({"months": f"is {months}; give 1 to 120"})
        sales = self.context.services.sales
        won = [stage.id for stage in await sales.stages() if stage.type == "won"]
        this = self.context.now().date().replace(day=1)
        groups = await figures(
            sales,
            (GroupBy("expected_close", "month"), "currency"),
            (_COUNT, Measure("sum", "amount")),
            stage_id__in=won,
            expected_close__gte=add_months(this, 1 - months),
            expected_close__lt=add_months(this, 1),
        )
        return tuple(
            Revenue(group.key[0], group.key[1], group.values[0], Decimal(group.values[1] or 0)) for group in groups
        )

    async def pipeline(self) -> tuple[PipelineRow, ...]:
        """The stages with their deals, by currency."""
        return await self.context.services.sales.pipeline()

    async def ticket_load(self) -> tuple[TicketLoad, ...]:
        """The tickets that need work, by who has them and status."""
        groups = await figures(self.context.services.tickets, ("assigned_to", "status"), status__in=OPEN)
        return tuple(TicketLoad(group.key[0], group.key[1], group.values[0]) for group in groups)

    async def customers_by_industry(self) -> tuple[Tally, ...]:
        """The industries, the largest first."""
        return tuple(sorted(await self.context.services.customers.industries(), key=lambda tally: -tally.count))

    async def renewals_due(self, days: int = 60) -> tuple[Contract, ...]:
        """Active contracts that end within `days` days and may be renewed, the soonest first; at most 1000."""
        page = await self.context.services.contracts.expiring(days, limit=1000)
        return tuple(contract for contract in page.items if contract.renewal != "none")

    async def recent_activity(self, limit: int = 20) -> tuple[Activity, ...]:
        """The customers, deals, tickets and contracts that were made or changed last, the latest first."""
        if not 1 <= limit <= 200:
            raise Invalid({"limit": f"is {limit}; give 1 to 200"})
        services = self.context.services
        order = (Sort("updated_at", descending=True),)
        pages = await asyncio.gather(*(services.of(name).list(sort=order, limit=limit) for name in _WATCHED))
        found = [_activity(name, row) for name, page in zip(_WATCHED, pages, strict=True) for row in page.items]
        found.sort(key=lambda activity: (activity.at, activity.record_id), reverse=True)
        return tuple(found[:limit])

    async def _open_deals(self) -> tuple[PipelineRow, ...]:
        return tuple(row for row in await self.pipeline() if row.type not in ("won", "lost"))


_COUNT: Final = Measure("count")


def _by_currency(amounts: Iterable[tuple[str | None, Decimal | None]]) -> tuple[Money, ...]:
    sums: dict[str, Decimal] = {}
    for currency, amount in amounts:
        if currency is not None:
            sums[currency] = sums.get(currency, Decimal(0)) + (amount or Decimal(0))
    return tuple(Money(currency, sums[currency]) for currency in sorted(sums))


def _activity(resource: str, row: Record) -> Activity:
    title = next(value for name in _TITLES if (value := getattr(row, name, None)) is not None)
    at = row.updated_at or datetime.min.replace(tzinfo=UTC)
    return Activity(at, resource, row.id, title, "created" if row.version == 1 else "updated", row.updated_by)
