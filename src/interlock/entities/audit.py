"""The trail of accepted writes."""

from __future__ import annotations

from interlock.contract import Record
from interlock.entities.types import Name, Short
from interlock.entity import Entity

__all__ = ["AUDIT", "AuditEntry"]


class AuditEntry(Record, frozen=True, kw_only=True, rename="camel"):
    """One accepted write, or one switch.

    `before` and `after` are JSON objects (as text) of the fields that changed, by wire name; `actor` is a user id or "system".
    `epoch` is the route's at the write.
    """

    actor: Name
    action: Name
    target: Name
    record_id: Short = ""
    before: str = "{}"
    after: str = "{}"
    backend: Short = ""
    epoch: int = 0
    operation_id: Short = ""


AUDIT = Entity(AuditEntry, resource="audit", append_only=True, searchable=("action", "target"))
