"""Contracts with customers: drafted, signed, renewed, ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from interlock.contract import DEFAULT_LIMIT, Page
from interlock.entities.contract import CONTRACTS, Contract
from interlock.errors import Conflict, Invalid, NotFound
from interlock.services.base import Context
from interlock.services.rules import RuledService, Transitions, add_months, retrying

__all__ = ["TRANSITIONS", "Contracts"]

Change = Callable[[Contract], Awaitable[Mapping[str, Any]]]

TRANSITIONS: Final = Transitions(
    "status",
    MappingProxyType(
        {
            "draft": ("active", "terminated"),
            "active": ("expired", "terminated"),
            "expired": ("active",),
            "terminated": (),
        }
    ),
)


class Contracts(RuledService[Contract]):
    """Contracts. They do not end before they start, an active one has a start, and the status moves along `TRANSITIONS`."""

    _ruled: ClassVar[frozenset[str]] = frozenset({"status", "start_date", "end_date"})

    def __init__(self, context: Context) -> None:
        super().__init__(CONTRACTS, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def expiring(
        self, days: int = 30, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> Page[Contract]:
        """Active contracts that end today or within `days` days, the soonest first."""
        if not 0 <= days <= 36_525:
            raise Invalid({"days": f"is {days}; give 0 to 36525"})
        today = self.context.now().date()
        return await self.list(
            status="active",
            end_date__between=(today, today + timedelta(days=days)),
            sort="end_date",
            limit=limit,
            cursor=cursor,
            count="exact",
        )

    async def renew(
        self,
        id: str,
        *,
        months: int = 12,
        end_date: date | None = None,
        value: Decimal | None = None,
        operation_id: str | None = None,
    ) -> Contract:
        """Go on for `months` from the end (from today where that is past), or until `end_date`; `value` is the new one.

        Raises `Invalid` for a contract that is not to be renewed, is a draft or terminated, or has no end.
        """
        if not 1 <= months <= 1200:
            raise Invalid({"months": f"is {months}; give 1 to 1200"})

        async def renewed(contract: Contract) -> Mapping[str, Any]:
            _check_renewable(contract)
            assert contract.end_date is not None  # noqa: S101 - just checked
            end = end_date or add_months(max(contract.end_date, self.context.now().date()), months)
            if end <= contract.end_date:
                raise Invalid(
                    {"end_date": f"is {end}, and the contract runs until {contract.end_date}; give a later day"}
                )
            return {"status": "active", "end_date": end, **({} if value is None else {"value": value})}

        return await self._once(id, renewed, operation_id)

    async def terminate(self, id: str, *, on: date | None = None, operation_id: str | None = None) -> Contract:
        """End the contract on a day, today by default; one that would start later ends on its first day."""

        async def ended(contract: Contract) -> Mapping[str, Any]:
            end = on or max(self.context.now().date(), contract.start_date or date.min)
            return {"status": "terminated", "end_date": end}

        return await self._once(id, ended, operation_id)

    async def _once(self, id: str, change: Change, operation_id: str | None) -> Contract:
        """The change, or, where the operation was accepted before, the contract as it is: a second run would go on from there."""
        try:
            return await retrying(self, id, change, operation_id)
        except (Invalid, NotFound, Conflict) as error:
            if operation_id is None:
                raise
            return await self._replayed(error, self._allowed("update"), operation_id, id, {})

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _check_create(self, rows: tuple[Contract, ...]) -> tuple[Contract, ...]:
        return tuple(
            msgspec.structs.replace(row, start_date=self._start(row.status, row.start_date, row.end_date))
            for row in rows
        )

    async def _rule(self, current: Contract, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        status = patch.get("status", current.status)
        TRANSITIONS.check(current.status, status)
        start = self._start(
            status, patch.get("start_date", current.start_date), patch.get("end_date", current.end_date)
        )
        return {**patch, "start_date": start}

    def _start(self, status: str, start: date | None, end: date | None) -> date | None:
        """The first day: an active contract without one starts today. Raises `Invalid` where it would end before."""
        if start is None and status == "active":
            today = self.context.now().date()
            return today if end is None else min(today, end)
        if start is not None and end is not None and end < start:
            raise Invalid({"end_date": f"is {end}, before the start on {start}"})
        return start


def _check_renewable(contract: Contract) -> None:
    if contract.renewal == "none":
        raise Invalid({"renewal": "this contract is not to be renewed; set renewal to manual or automatic first"})
    if contract.status not in ("active", "expired"):
        raise Invalid({"status": f"is {contract.status}; only active and expired contracts are renewed"})
    if contract.end_date is None:
        raise Invalid({"end_date": "there is none, so the contract goes on without being renewed"})
