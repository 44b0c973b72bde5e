"""The audit entry of a write, made the same way wherever it is written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from interlock.contract import Record, Request
from interlock.entities.audit import AuditEntry
from interlock.entity import Entity
from interlock.identifiers import new_id

__all__ = ["entry_of"]

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
    hidden = entity.internal
    return AuditEntry(
        id=new_id(),
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
