"""Rules that several services share: status moves along a table, and updates that are judged by the record as it stands."""

from __future__ import annotations

import calendar
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar, cast

import msgspec

from interlock.contract import Condition, Group, Identity, Outcome, Query, Record, Request, Response
from interlock.entities.audit import AuditEntry
from interlock.entity import Entity
from interlock.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated, Unsupported
from interlock.identifiers import derived_id, new_id
from interlock.services.base import EntityService
from interlock.services.policy import check
from interlock.validation import check_patch

__all__ = ["RuledService", "Transitions", "add_months", "retrying"]

R = TypeVar("R", bound=Record)

ATTEMPTS: Final = 8
"""How often a ruled update is judged anew after somebody else wrote in between."""


_JUDGED: Final = (Invalid, Forbidden, NotFound, Conflict)
"""What an operation may meet that was accepted before and comes again."""


class Transitions(msgspec.Struct, frozen=True):
    """Which values of a status field may follow which."""

    field: str
    table: Mapping[str, tuple[str, ...]]

    def check(self, old: str, new: str) -> None:
        """Raise `Invalid`, naming the moves that exist, unless `new` may follow `old`. Staying is always allowed."""
        moves = self.table[old]
        if new != old and new not in moves:
            ways = f"from {old} it may go to {' or '.join(moves)}" if moves else f"{old} is the end"
            raise Invalid({self.field: f"cannot go from {old} to {new}; {ways}"})


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or the last day of a month that is too short. Raises `Invalid` beyond the year 9999."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise Invalid({"months": f"{months} months from {day} is outside the years 1 to 9999"})
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


class RuledService(EntityService[R]):
    """A service whose updates are judged by the record as it stands.

    A patch that touches one of `_ruled` is judged by `_rule` against each record and written under the version that was judged;
    where somebody else wrote in between, it is judged anew. So no two callers can together do what the rule forbids.
    """

    _ruled: ClassVar[frozenset[str]] = frozenset()

    async def _rule(self, current: R, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The patch as the rules have it for this record. Raises `Invalid` or `Forbidden`."""
        return patch

    async def _update(
        self,
        ids: tuple[str, ...],
        values: Mapping[str, Any],
        action: str,
        expected_version: int | None,
        operation_id: str | None,
    ) -> Response:
        if self._ruled.isdisjoint(values):
            return await super()._update(ids, values, action, expected_version, operation_id)
        identity = self._allowed(action)
        patch = check_patch(self.entity, values)
        await self._check_references(identity, patch)
        outcomes = []
        for item in ids:
            operation = operation_id and (operation_id if len(ids) == 1 else f"{operation_id}/{item}")
            try:
                outcomes.append(await self._judged(identity, item, patch, expected_version, operation))
            except _JUDGED as error:
                outcomes.append(Outcome(item, error=error))
        return Response(outcomes=tuple(outcomes))

    async def create(
        self, values: R | Mapping[str, Any] | None = None, /, *, operation_id: str | None = None, **fields: Any
    ) -> R:
        """A new record, from a Struct, a mapping, or keywords. Raises `Invalid`, `Duplicate`.

        The same `operation_id` again answers the record and writes nothing, also where the rules would judge differently by now.
        """
        try:
            return await super().create(values, operation_id=operation_id, **fields)
        except _JUDGED as error:
            if operation_id is None:
                raise
            given = {**(_as_mapping(self.entity, values)), **fields}
            made = given.pop("id", None) or derived_id(operation_id, self.entity.resource)
            patch = check_patch(self.entity, given)
            return await self._replayed(error, self._allowed("create"), operation_id, made, patch)

    async def _judged(
        self, identity: Identity, id: str, patch: Mapping[str, Any], expected: int | None, operation_id: str | None
    ) -> Outcome:
        """One record's update. With an operation id that was accepted before, the record as it is, and nothing is written."""
        try:
            return await self._judge(identity, id, patch, expected, operation_id or new_id())
        except _JUDGED as error:
            if operation_id is not None:
                return Outcome(id, row=await self._replayed(error, identity, operation_id, id, patch))
            return Outcome(id, error=error)

    async def _judge(
        self, identity: Identity, id: str, patch: Mapping[str, Any], expected: int | None, base: str
    ) -> Outcome:
        for attempt in range(ATTEMPTS):
            current = await self.get(id)
            if expected is not None and current.version != expected:
                raise Conflict(self.entity.resource, id, expected, current)
            ruled = MappingProxyType(dict(await self._rule(current, patch)))
            answer = await self._write(
                "update",
                identity,
                _operation(base, attempt),
                ids=(id,),
                patch=ruled,
                expected_version=current.version,
            )
            outcome = answer.outcomes[0]
            if not isinstance(outcome.error, Conflict) or expected is not None:
                break
        return outcome

    async def _replayed(
        self, error: Exception, identity: Identity, operation_id: str, id: str, patch: Mapping[str, Any]
    ) -> R:
        """The record, if the operation was accepted before; else raises the error.

        A replay is judged by a record that the first run has changed, so it may be refused where that was accepted.
        """
        if not await self._accepted(identity, operation_id, id, patch):
            raise error
        return await self.get(id, deleted="with")

    async def _accepted(self, identity: Identity, operation_id: str, id: str, patch: Mapping[str, Any]) -> bool:
        """True where this write was accepted before.

        The audit entry of the accepted write stands in the same backend, from the same transaction. Raises `Invalid` where the
        operation id belongs to another write of the record.
        """
        used = tuple(_operation(operation_id, attempt) for attempt in range(ATTEMPTS))
        where = Group("and", (Condition("operation_id", "in", used), Condition("record_id", "eq", id)))
        system = Identity("system", identity.tenant_id, "system")
        route = self.context.route(self.entity.service)
        try:
            answer = await route.handle(
                Request("find", "audit", system, query=Query(where, limit=1), epoch=route.epoch)
            )
        except (Unsupported, Forbidden, Unauthenticated, NotFound, Invalid):
            return False  # a backend that shows no trail judges replays itself
        for entry in cast("tuple[AuditEntry, ...]", answer.rows):
            self._same_request(entry, patch)
        return bool(answer.rows)

    def _same_request(self, entry: AuditEntry, patch: Mapping[str, Any]) -> None:
        written = msgspec.json.decode(entry.after)
        for name, value in patch.items():
            field = self.entity.fields[name]
            if field.wire in written and msgspec.convert(written[field.wire], field.python, strict=False) != value:
                raise Invalid({"operation_id": "was used for another request; mint a new one"})


def _as_mapping(entity: Entity[Any], values: Record | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if isinstance(values, Record):
        defaults = {field.name: field.default for field in msgspec.structs.fields(values)}
        given = {name: getattr(values, name) for name in entity.writable}
        return {name: value for name, value in given.items() if value != defaults[name]}
    return values or {}


def _operation(base: str, attempt: int) -> str:
    """The operation id of one attempt: a rejected one is remembered under its id, so the next is another operation."""
    return f"{base}/{attempt}" if attempt else base


async def retrying(
    service: EntityService[R],
    id: str,
    change: Callable[[R], Awaitable[Mapping[str, Any]]],
    operation_id: str | None = None,
) -> R:
    """Read, change, write under the version read; again where somebody else wrote in between.

    `change` answers the patch for a row; an empty one writes nothing.
    """
    check(service.context.identity, service.entity.resource, "update")
    base = operation_id or new_id()
    error: Conflict | None = None
    for attempt in range(ATTEMPTS):
        current = await service.get(id)
        patch = await change(current)
        if not patch:
            return current
        try:
            return await service.update(
                id, patch, expected_version=current.version, operation_id=_operation(base, attempt)
            )
        except Conflict as conflict:
            error = conflict
    assert error is not None  # noqa: S101 - the loop ran
    raise error
