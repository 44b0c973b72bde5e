"""Writing: each item checked in the contract's order, then written with its audit entry and its change in one step.

Nothing here awaits, so no other call sees an item half written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from interlock.backends.memory.table import Table
from interlock.contract import Change, Outcome, Record, Request
from interlock.entity import unchanged
from interlock.errors import Conflict, Duplicate, Invalid, NotFound

__all__ = ["Accept", "Kind", "change_of", "write"]

Kind = Literal["created", "updated", "deleted", "restored"]
Accept = Callable[[Table, Request, Record | None, Record, datetime, Kind], None]
"""Stores the accepted row, with its audit entry, and tells the watchers."""

_replace = msgspec.structs.replace


def write(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> tuple[Outcome, ...]:
    """The outcomes of a write, one for each item, in order."""
    return tuple(_WRITERS[request.verb](table, request, now, accept))


def _create(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> Iterable[Outcome]:
    entity, identity = table.entity, request.identity
    for row in request.rows:
        at = now()
        if row.id in table.rows:
            yield Outcome(row.id, error=Duplicate(entity.resource, "id", row.id))
        elif clash := table.clash(row):
            yield Outcome(row.id, error=Duplicate(entity.resource, *clash))
        else:
            number = {} if entity.sequence is None else {entity.sequence: table.last_number + 1}
            after = _replace(
                row,
                tenant_id=identity.tenant_id,
                created_at=at,
                updated_at=at,
                created_by=identity.user_id,
                updated_by=identity.user_id,
                version=1,
                deleted_at=None,
                **number,
            )
            accept(table, request, None, after, at, "created")
            yield Outcome(row.id, after)


def _found(table: Table, request: Request, id: str, *, deleted: bool = False) -> Record:
    """The row to write. Raises `NotFound`, then `Conflict`."""
    row = table.rows.get(id)
    if row is None or (row.deleted_at is not None and not deleted):
        raise NotFound(table.entity.resource, id)
    if request.expected_version is not None and request.expected_version != row.version:
        raise Conflict(table.entity.resource, id, request.expected_version, row)
    return row


def _update(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> Iterable[Outcome]:
    patch: Mapping[str, Any] = request.patch or {}
    for item in request.ids:
        try:
            before = _found(table, request, item)
        except (NotFound, Conflict) as error:
            yield Outcome(item, error=error)
            continue
        if unchanged(before, patch):
            yield Outcome(item, before)
            continue
        at = now()
        after = _replace(before, **patch, **_touched(before, request, at))
        if clash := table.clash(after):
            yield Outcome(item, error=Duplicate(table.entity.resource, *clash))
        else:
            accept(table, request, before, after, at, "updated")
            yield Outcome(item, after)


def _delete(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> Iterable[Outcome]:
    for item in request.ids:
        try:
            before = _found(table, request, item)
        except (NotFound, Conflict) as error:
            yield Outcome(item, error=error)
            continue
        at = now()
        after = _replace(before, deleted_at=at, **_touched(before, request, at))
        accept(table, request, before, after, at, "deleted")
        yield Outcome(item, after)


def _restore(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> Iterable[Outcome]:
    for item in request.ids:
        try:
            before = _found(table, request, item, deleted=True)
        except (NotFound, Conflict) as error:
            yield Outcome(item, error=error)
            continue
        if before.deleted_at is None:
            yield Outcome(item, before)
        elif clash := table.clash(before):
            yield Outcome(item, error=Duplicate(table.entity.resource, *clash))
        else:
            at = now()
            after = _replace(before, deleted_at=None, **_touched(before, request, at))
            accept(table, request, before, after, at, "restored")
            yield Outcome(item, after)


def _touched(before: Record, request: Request, at: datetime) -> dict[str, object]:
    return {"updated_at": at, "updated_by": request.identity.user_id, "version": before.version + 1}


def _put(table: Table, request: Request, now: Callable[[], datetime], accept: Accept) -> Iterable[Outcome]:
    resource = table.entity.resource
    for row in request.rows:
        if row.tenant_id != request.identity.tenant_id:
            raise Invalid({"tenant_id": f"row {row.id} is of another tenant than the caller; put it as its own tenant"})
    for row in request.rows:
        before = table.rows.get(row.id)
        known = before is not None and resource == "audit"
        if known or table.sequences.get(row.id, 0) >= request.sequence:
            yield Outcome(row.id)
        elif row.deleted_at is None and (clash := table.clash(row)):
            yield Outcome(row.id, error=Duplicate(resource, *clash))
        else:
            table.sequences[row.id] = request.sequence
            accept(table, request, before, row, now(), _kind_of_put(before, row))
            yield Outcome(row.id, row)


def _kind_of_put(before: Record | None, after: Record) -> Kind:
    if after.deleted_at is not None:
        return "deleted"
    if before is None:
        return "created"
    return "restored" if before.deleted_at is not None else "updated"


_WRITERS = {"create": _create, "update": _update, "delete": _delete, "restore": _restore, "put": _put}


def change_of(kind: Kind, resource: str, row: Record) -> Change:
    """What watchers are told of an accepted write."""
    return Change(kind=kind, resource=resource, record_id=row.id, version=row.version, row=row)
