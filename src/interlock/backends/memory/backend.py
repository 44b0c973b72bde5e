"""The memory backend: one `handle`, and the abilities that memory can have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

import msgspec

from interlock.abilities import BlobInfo, Health
from interlock.backends.memory.aggregate import grouped
from interlock.backends.memory.blobs import Blobs
from interlock.backends.memory.query import find, matching
from interlock.backends.memory.table import Table
from interlock.backends.memory.writes import Kind, change_of, write
from interlock.contract import (
    Aggregate,
    Change,
    Identity,
    Outcome,
    Query,
    Record,
    Request,
    Response,
    canonical,
)
from interlock.entity import Entity, fold
from interlock.errors import DeadlineExceeded, Invalid, Unauthenticated, Unavailable, Unsupported
from interlock.trail import entry_of

__all__ = ["MemoryBackend"]

_WITHOUT_DELETED: Final = Query()
_EVERYTHING: Final = Aggregate()
_CHANGING: Final = frozenset({"update", "delete", "restore"})


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


class MemoryBackend:
    """Keeps everything in memory, of many tenants, until it is closed. The reference that other backends are held against.

    Rows are the very Structs that were given. No write awaits, so each is atomic; two instances share nothing.
    """

    def __init__(
        self,
        entities: Sequence[Entity[Any]],
        *,
        name: str = "mock",
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.name = name
        self._clock = clock
        self._entities = {entity.resource: entity for entity in entities}
        self._tables: dict[tuple[str, str], Table] = {}
        self._operations: dict[tuple[str, str], tuple[bytes, tuple[Outcome, ...]]] = {}
        self._unacknowledged: dict[str, Record] = {}
        self._blobs = Blobs()
        self._closed = False

    def __repr__(self) -> str:
        return f"MemoryBackend({self.name!r}, {len(self._entities)} resources)"

    async def handle(self, request: Request) -> Response:
        """Answer one request. Raises `Unsupported` for a resource that was not registered."""
        # The commonest call first, without a detour: one undeleted record by id.
        if request.verb == "get" and request.query is None and len(request.ids) == 1 and request.deadline is None:
            table = self._tables.get((request.identity.tenant_id, request.resource))
            if table is not None:
                row = table.rows.get(request.ids[0])
                found = () if row is None or row.deleted_at is not None else (row,)
                return Response(found, backend=self.name, epoch=request.epoch)
        return self._answer(request)

    def _answer(self, request: Request) -> Response:
        if request.deadline is not None and asyncio.get_running_loop().time() >= request.deadline:
            raise DeadlineExceeded
        table = self._table(request.identity, request.resource)
        query = request.query or _WITHOUT_DELETED
        if request.verb == "get":
            response = self._get(table, request.ids, query)
        elif request.verb == "find":
            response = find(table, query)
        elif request.verb == "aggregate":
            rows = matching(table, query, table.rows.values())
            response = Response(groups=grouped(rows, request.aggregate or _EVERYTHING))
        else:
            response = Response(outcomes=self._write(table, request))
        return msgspec.structs.replace(response, backend=self.name, epoch=request.epoch)

    def _table(self, identity: Identity, resource: str) -> Table:
        if self._closed:
            raise Unavailable(f"the backend {self.name!r} is closed")
        if not identity.tenant_id:
            raise Unauthenticated("the caller has no tenant; log in first")
        table = self._tables.get((identity.tenant_id, resource))
        if table is None:
            entity = self._entities.get(resource)
            if entity is None:
                raise Unsupported(self.name, f"it has no resource {resource!r}")
            table = self._tables[identity.tenant_id, resource] = Table(entity)
        return table

    def _get(self, table: Table, ids: Sequence[str], query: Query) -> Response:
        rows = [row for key in dict.fromkeys(ids) if (row := table.rows.get(key)) is not None]
        return Response(tuple(matching(table, Query(deleted=query.deleted), rows)))

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, table: Table, request: Request) -> tuple[Outcome, ...]:
        if table.entity.append_only and request.verb in _CHANGING:
            raise Unsupported(
                self.name, f"{table.entity.resource} are only ever added to; {request.verb} is not for them"
            )
        if not request.operation_id:
            return write(table, request, self._clock, self._accept)
        operation = (request.identity.tenant_id, request.operation_id)
        fingerprint = blake2b(canonical(msgspec.structs.replace(request, epoch=0)), digest_size=16).digest()
        first, outcomes = self._operations.get(operation, (fingerprint, None))
        if first != fingerprint:
            raise Invalid({"operation_id": "was used for another request; mint a new one"})
        if outcomes is None:
            outcomes = write(table, request, self._clock, self._accept)
            self._operations[operation] = (fingerprint, outcomes)
        return outcomes

    def _accept(
        self, table: Table, request: Request, before: Record | None, after: Record, at: datetime, kind: Kind
    ) -> None:
        resource = table.entity.resource
        entry = None
        if request.verb != "put" and resource != "audit":
            entry = entry_of(table.entity, request, before, after, at, self.name)
        table.store(before, after)
        table.feed.publish(change_of(kind, resource, after))
        if entry is not None:
            self._unacknowledged[entry.id] = entry
            if "audit" in self._entities:
                trail = self._table(request.identity, "audit")
                trail.store(None, entry)
                trail.feed.publish(change_of("created", "audit", entry))

    # -- abilities ------------------------------------------------------------------------------------------------

    async def probe(self, timeout: float = 2.0) -> Health:
        """Healthy until closed."""
        return Health(not self._closed, 0.0, "closed" if self._closed else "in memory")

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        """The accepted writes of the identity's tenant, from this call on, or from a position on."""
        return self._table(identity, resource).feed.watch(after)

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Store a file's bytes."""
        return await self._blobs.write(identity.tenant_id, file_id, chunks)

    def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """A file's bytes, or a part of them."""
        return self._blobs.read(identity.tenant_id, file_id, start, end)

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """Forget a file's bytes."""
        self._blobs.delete(identity.tenant_id, file_id)

    async def pending_audit(self, limit: int = 100) -> Sequence[Record]:
        """The oldest audit entries that nobody has acknowledged."""
        return tuple(entry for entry, _ in zip(self._unacknowledged.values(), range(limit), strict=False))

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        """These entries have arrived where `audit` is served."""
        for entry_id in ids:
            self._unacknowledged.pop(entry_id, None)

    async def find_accounts(self, resource: str, field: str, value: str) -> Sequence[Record]:
        """The undeleted rows of all tenants whose folded field is this value; for log-ins only."""
        entity = self._entities[resource]
        tables = [table for (_, of), table in self._tables.items() if of == resource]
        unique = next((unique for unique in entity.unique if unique.field == field), None)
        if unique is not None:
            holders = (table.holder(unique, value) for table in tables)
            return tuple(row for row in holders if row is not None)
        return tuple(
            row
            for table in tables
            for row in table.rows.values()
            if row.deleted_at is None and fold(str(getattr(row, field))) == value
        )

    async def aclose(self) -> None:
        """Forget everything and end every watch."""
        self._closed = True
        for table in self._tables.values():
            table.feed.close()
        self._tables.clear()
        self._operations.clear()
        self._unacknowledged.clear()
        self._blobs.clear()
