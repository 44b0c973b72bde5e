"""The backend itself: reads, writes, and every ability, over one database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

from sqlalchemy import BigInteger, ColumnElement, bindparam, literal_column, select, update
from sqlalchemy import text as sql_text

from interlock.abilities import BlobInfo, Health
from interlock.backends.sql.blobs import Blobs
from interlock.backends.sql.changes import CHANNEL, Hub, Listener, Notice, Poller, notices_of
from interlock.backends.sql.connections import Database, Session
from interlock.backends.sql.failures import is_transient, mapped
from interlock.backends.sql.migrating import check_schema
from interlock.backends.sql.shapes import take_apart
from interlock.backends.sql.statements import Statements, compiled
from interlock.backends.sql.tables import TYPES, EntityTable, Schema
from interlock.backends.sql.writes import Writer, Written
from interlock.contract import Aggregate, Change, GroupRow, Identity, Query, Record, Request, Response
from interlock.entity import Entity
from interlock.errors import DeadlineExceeded, InterlockError, Invalid, OutcomeUnknown
from interlock.identifiers import new_id
from interlock.paging import encode_cursor, full_order

__all__ = ["SqlBackend"]

_TRIES: Final = 8
_DEFAULT: Final = Query()


def utc_now() -> datetime:
    """Now, in UTC, with microseconds."""
    return datetime.now(UTC)


class SqlBackend:
    """A backend on SQLite or PostgreSQL.

    `url` is `sqlite+aiosqlite:///path.db` or `postgresql+asyncpg://user:password@host/database`. `open` checks that the tables are
    there, and never makes them: `migrate` does. `poll_interval` (seconds) is how often SQLite is asked for other processes' writes
    while somebody watches.
    """

    def __init__(
        self,
        url: str,
        entities: Sequence[Entity[Any]],
        *,
        name: str = "sql",
        clock: Callable[[], datetime] = utc_now,
        pool_size: int = 16,
        poll_interval: float = 1.0,
    ) -> None:
        self.name = name
        self._database = Database(url, name=name, pool_size=pool_size)
        self._dialect = self._database.dialect
        self._schema = Schema(entities, self._dialect)
        self._statements = {resource: Statements(of, self._dialect) for resource, of in self._schema.entities.items()}
        self._writer = Writer(self._schema, self._dialect, clock, name)
        self._blobs = Blobs(self._database, self._schema)
        self._hub = Hub()
        self._origin = new_id()
        self._writing: set[asyncio.Task[Written]] = set()
        self._feed: Listener | Poller = (
            Listener(self._hub, self._database.driver, self._origin, self._reread)
            if self._dialect.locks_rows
            else Poller(self._hub, self._tail, self._reread, poll_interval)
        )
        self._verbs = {"find": self._find, "get": self._get, "aggregate": self._aggregate}
        self._build_audit()

    def _build_audit(self) -> None:
        audit = self._schema.audit
        c = audit.table.c
        waiting = select(*audit.selected).where(c["_forwarded"].is_(False)).order_by(c.created_at, c.id)
        self._pending = compiled(waiting.limit(bindparam("limit")), self._dialect)
        named = self._dialect.in_list(c.id, "ids", TYPES["id"])
        self._acknowledge = compiled(
            update(audit.table).where(c["_forwarded"].is_(False), named).values(_forwarded=True), self._dialect
        )
        rowid: ColumnElement[int] = literal_column("rowid")
        place: ColumnElement[int] = bindparam("place", type_=BigInteger())
        self._behind = compiled(
            select(rowid, *audit.selected).where(rowid > place).order_by(rowid).limit(1000), self._dialect
        )
        self._end = compiled(sql_text("select coalesce(max(rowid), 0) from audit"), self._dialect)

    async def open(self) -> None:
        """Check that the database is there and has this version's tables. Raises `Misconfigured` or `Unavailable`."""
        await check_schema(self._database, self._schema)

    async def aclose(self) -> None:
        """Let the writes under way end, end every watch, close the connections."""
        if self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)
        await self._feed.aclose()
        await self._hub.aclose()
        await self._database.aclose()

    # The verbs.

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        of = self._schema.entities.get(request.resource)
        if of is None:
            raise Invalid({"resource": f"{request.resource!r} is not served here"})
        left = None if request.deadline is None else request.deadline - asyncio.get_running_loop().time()
        if left is not None and left <= 0:
            raise DeadlineExceeded()
        read = self._verbs.get(request.verb)
        if read is None:
            return await self._write(request, left)
        if left is None:
            return await read(of, request)
        try:
            async with asyncio.timeout(left):
                return await read(of, request)
        except TimeoutError as error:
            raise DeadlineExceeded() from error

    async def _find(self, of: EntityTable, request: Request) -> Response:
        query = request.query or _DEFAULT
        parts = take_apart(of.entity, self._dialect, request.identity.tenant_id, query)
        values = parts.values
        values["limit"], values["offset"] = query.limit + 1, query.offset
        statements = self._statements[request.resource]
        find = statements.find(parts.shape)
        found = await self._database.read(find.sql, find.values(values))
        rows = of.rows(found[: query.limit])
        total = None
        if query.count != "none":
            count = statements.count(parts.shape)
            total = (await self._database.read(count.sql, count.values(values)))[0][0]
        more = len(found) > query.limit and query.near is None
        cursor = encode_cursor(full_order(query), rows[-1]) if more else None
        return Response(rows=rows, total=total, next_cursor=cursor, backend=self.name, epoch=request.epoch)

    async def _get(self, of: EntityTable, request: Request) -> Response:
        deleted = request.query.deleted if request.query is not None else "without"
        statement = self._statements[request.resource].get(deleted)
        ids = dict.fromkeys(request.ids)
        given = {"tenant": request.identity.tenant_id, "ids": self._dialect.list_value(list(ids))}
        found = of.rows(await self._database.read(statement.sql, statement.values(given)))
        if len(found) > 1:
            by_id = {row.id: row for row in found}
            found = tuple([by_id[key] for key in ids if key in by_id])
        return Response(rows=found, backend=self.name, epoch=request.epoch)

    async def _aggregate(self, of: EntityTable, request: Request) -> Response:
        asked = request.aggregate or Aggregate()
        parts = take_apart(of.entity, self._dialect, request.identity.tenant_id, request.query or _DEFAULT, asked)
        statement = self._statements[request.resource].aggregate(parts.shape)
        found = await self._database.read(statement.sql, statement.values(parts.values))
        groups = tuple([self._group(of, asked, values) for values in found])
        return Response(groups=groups, backend=self.name, epoch=request.epoch)

    def _group(self, of: EntityTable, asked: Aggregate, values: Sequence[Any]) -> GroupRow:
        key = []
        for group, value in zip(asked.group_by, values, strict=False):
            read = (
                None if group.bucket is not None or value is None else self._dialect.read(of.entity.fields[group.field])
            )
            key.append(value if read is None else read(value))
        at = len(key)
        measured = []
        for measure in asked.measures:
            if measure.field is None:
                measured.append(values[at])
                at += 1
                continue
            field = of.entity.fields[measure.field]
            width = len(self._dialect.measure(measure.op, of.table.c[measure.field], field.kind))
            measured.append(self._dialect.measured(measure.op, values[at : at + width], field))
            at += width
        return GroupRow(tuple(key), tuple(measured))

    async def _write(self, request: Request, left: float | None) -> Response:
        # In a task of its own: a caller who goes away leaves a write that ends, not one that is torn.
        task = asyncio.create_task(self._carry_out(request))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        done, _ = await asyncio.wait({task}, timeout=left)
        if not done:
            raise OutcomeUnknown(request.operation_id, "the deadline passed while the write was under way")
        return Response(outcomes=task.result().outcomes, backend=self.name, epoch=request.epoch)

    async def _carry_out(self, request: Request) -> Written:
        attempt = 1
        patience = self._database.patience()
        while True:
            try:
                return await self._try(request)
            except OutcomeUnknown:
                # Who watches cannot know either. With an operation id we can: the same call finds the outcome, or writes.
                self._hub.resync()
                if not request.operation_id or attempt > 1:
                    raise
                return await self._ask_again(request)
            except InterlockError:
                raise
            except Exception as error:
                # A connection that was dead before the commit wrote nothing: once more on a new one.
                if patience.again(error):
                    continue
                if attempt == _TRIES or not is_transient(error):
                    raise mapped(error, self.name) from error
            await asyncio.sleep(0.002 * 2**attempt)
            attempt += 1

    async def _ask_again(self, request: Request) -> Written:
        try:
            return await self._try(request)
        except Exception as error:
            raise OutcomeUnknown(request.operation_id) from error

    async def _try(self, request: Request) -> Written:
        written = Written(())

        tenant_id = request.identity.tenant_id

        def publish() -> None:
            self._publish(tenant_id, written)

        try:
            async with self._database.writing(request.operation_id, publish) as session:
                written = await self._writer.run(session, request)
                self._hub.committing(tenant_id, written.changes)
                await self._announce(session, request, written)
        finally:
            self._hub.ended(tenant_id, written.changes)
        return written

    async def _announce(self, session: Session, request: Request, written: Written) -> None:
        """Tell other processes, with the commit."""
        if isinstance(self._feed, Poller):
            self._feed.own(written.entries)
            return
        tenant = request.identity.tenant_id
        for payload in notices_of(self._origin, tenant, written.changes):
            await session.execute("select pg_notify($1, $2)", (CHANNEL, payload))

    def _publish(self, tenant_id: str, written: Written) -> None:
        if not self._hub.watched:
            return
        self._hub.publish(tenant_id, written.changes)
        entries = (Change(kind="created", resource="audit", record_id=e.id, version=1, row=e) for e in written.entries)
        self._hub.publish(tenant_id, entries)

    # The abilities.

    async def probe(self, timeout: float = 2.0) -> Health:
        """Ask the database for its version."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked = "select sqlite_version()" if not self._dialect.locks_rows else "show server_version"
        try:
            async with asyncio.timeout(timeout):
                found = await self._database.read(asked, ())
        except (InterlockError, TimeoutError) as error:
            return Health(False, loop.time() - began, str(error) or "no answer in time")
        return Health(True, loop.time() - began, self._dialect.name, str(found[0][0]))

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        """Accepted writes from this call on, or after a position."""
        if resource not in self._schema.entities:
            raise Invalid({"resource": f"{resource!r} is not served here"})
        return self._hub.watch((identity.tenant_id, resource), after, self._feed.ready)

    async def write_blob(self, identity: Identity, file_id: str, chunks: AsyncIterator[bytes]) -> BlobInfo:
        """Store a file's bytes."""
        return await self._blobs.write(identity, file_id, chunks)

    def read_blob(
        self, identity: Identity, file_id: str, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """A file's bytes."""
        return self._blobs.read(identity, file_id, start, end)

    async def delete_blob(self, identity: Identity, file_id: str) -> None:
        """Forget a file's bytes."""
        await self._blobs.delete(identity, file_id)

    async def pending_audit(self, limit: int = 100) -> Sequence[Record]:
        """The oldest audit entries that nobody has acknowledged, of all tenants."""
        found = await self._database.read(self._pending.sql, self._pending.values({"limit": limit}))
        return self._schema.audit.rows(found)

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        """Forget that they wait."""
        given = {"ids": self._dialect.list_value(list(ids))}
        try:
            async with self._database.writing() as session:
                await session.execute(self._acknowledge.sql, self._acknowledge.values(given))
        except InterlockError:
            raise
        except Exception as error:
            raise mapped(error, self.name) from error

    async def find_accounts(self, resource: str, field: str, value: str) -> Sequence[Record]:
        """All undeleted records, of any tenant, whose field has the folded value."""
        of = self._schema.entities[resource]
        c = of.table.c
        asked = select(*of.selected).where(of.unique_column(field) == bindparam("value"), c.deleted_at.is_(None))
        statement = compiled(asked.order_by(c.created_at, c.tenant_id, c.id), self._dialect)
        return of.rows(await self._database.read(statement.sql, statement.values({"value": value})))

    # What the feeds ask for.

    async def _reread(self, notice: Notice) -> Sequence[Change]:
        of = self._schema.entities.get(notice.resource)
        if of is None:
            return ()
        who = Identity("system", notice.tenant_id, "system")
        ids = tuple(record_id for _, record_id, _ in notice.writes)
        asked = Request("get", notice.resource, who, ids=ids, query=Query(deleted="with"))
        rows = {row.id: row for row in (await self._get(of, asked)).rows}
        return [
            Change(
                kind=cast("Any", kind),
                resource=notice.resource,
                record_id=record_id,
                version=version or rows[record_id].version,
                row=rows[record_id],
            )
            for kind, record_id, version in notice.writes
            if record_id in rows
        ]

    async def _tail(self, place: int | None) -> tuple[int, Sequence[Record]]:
        if place is None:
            return (await self._database.read(self._end.sql, ()))[0][0], ()
        found = await self._database.read(self._behind.sql, self._behind.values({"place": place}))
        return (found[-1][0] if found else place), self._schema.audit.rows([values[1:] for values in found])
