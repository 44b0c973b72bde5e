"""The trail of accepted writes: read, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from interlock.contract import DEFAULT_LIMIT, Outcome, Page
from interlock.entities.audit import AUDIT, AuditEntry
from interlock.errors import Unsupported
from interlock.services.base import Context, EntityService

__all__ = ["Audit"]


class Audit(EntityService[AuditEntry]):
    """The audit trail. Backends write it with each accepted write; nobody adds to it, changes it or deletes from it."""

    def __init__(self, context: Context) -> None:
        super().__init__(AUDIT, context)

    async def history(
        self, resource: str, id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None
    ) -> Page[AuditEntry]:
        """What happened to one record, the oldest first. The record need not exist any more."""
        return await self.list(
            target=resource, record_id=id, sort="created_at", limit=limit, cursor=cursor, count="exact"
        )

    async def create(
        self,
        values: AuditEntry | Mapping[str, Any] | None = None,
        /,
        *,
        operation_id: str | None = None,
        **fields: Any,
    ) -> AuditEntry:
        """Refused: entries come from accepted writes."""
        self._refuse("create")

    async def bulk_create(
        self, rows: Iterable[AuditEntry | Mapping[str, Any]], *, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """Refused: entries come from accepted writes."""
        self._refuse("bulk_create")

    def _refuse(self, action: str) -> NoReturn:
        self._allowed(action)
        raise Unsupported(
            self.context.route("audit").backend_name, f"to {action} audit entries; the trail only grows by writes"
        )
