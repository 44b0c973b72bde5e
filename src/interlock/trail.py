"""The audit entry of a write, made the same way wherever it is written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from interlock.contract import Record, Request, Response
from interlock.entities.audit import AuditEntry
from interlock.entity import Entity
from interlock.identifiers import derived_id, new_id

__all__ = ["entries_seen", "entry_of"]

_SILENT = frozenset({"created_at", "updated_at", "created_by", "updated_by", "tenant_id"})
_encode = msgspec.json.Encoder(order="deterministic").encode


def entry_of(
    entity: Entity[Any], request: Request, before: Record | None, after: Record, at: datetime, backend: str
) -> AuditEntry:
    """The entry for one accepted item of a write. `before` is None for a create; `at` is UTC."""
    changed = [
        field
        for name, field in entity.fields.items()
        if name not in _SILENT and (before is None or getattr(before, name) != getattr(after, name))
    ]
    return _entry(new_id(), entity, request, changed, before, after, at, backend)


def entries_seen(entity: Entity[Any], request: Request, answer: Response, at: datetime) -> list[AuditEntry]:
    """The entries for a write as its caller sees it, where the backend keeps no trail that could be forwarded.

    What was before is not known then. The id follows from the operation and the record: a repeated operation has the same entry.
    """
    named = {"delete": ("deleted_at",), "restore": ("deleted_at",), "update": tuple(request.patch or ())}.get(
        request.verb
    )
    fields = [
        field for name, field in entity.fields.items() if name not in _SILENT and (named is None or name in named)
    ]
    return [
        _entry(
            derived_id(request.operation_id, f"audit/{outcome.id}"),
            entity,
            request,
            fields,
            None,
            outcome.row,
            at,
            answer.backend,
        )
        for outcome in answer.outcomes
        if outcome.row is not None
    ]


def _entry(
    id: str,
    entity: Entity[Any],
    request: Request,
    changed: list[Any],
    before: Record | None,
    after: Record,
    at: datetime,
    backend: str,
) -> AuditEntry:
    hidden = entity.internal
    return AuditEntry(
        id=id,
        tenant_id=after.tenant_id,
        created_at=at,
        updated_at=at,
        created_by=request.identity.user_id,
        updated_by=request.identity.user_id,
        version=1,
        actor=request.identity.user_id or "system",
        action=request.verb,
        target=entity.resource,
        record_id=after.id,
        before="{}" if before is None or hidden else _images(changed, before),
        after="{}" if hidden else _images(changed, after),
        backend=backend,
        epoch=request.epoch,
        operation_id=request.operation_id,
    )


def _images(fields: list[Any], row: Record) -> str:
    return _encode({field.wire: getattr(row, field.name) for field in fields}).decode()
