"""The writing verbs: one transaction for each call, one outcome for each item.

A call locks the rows that it names, looks once for everything that could be in its way, decides each item in order, and writes them
all with a few statements. Where somebody else took a unique value between the look and the write, the whole call runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import BigInteger, ColumnElement, LargeBinary, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.elements import ClauseElement

from interlock.backends.sql.connections import Session
from interlock.backends.sql.dialects import Dialect
from interlock.backends.sql.operations import fingerprint, pack, unpack
from interlock.backends.sql.statements import Statement, compiled
from interlock.backends.sql.tables import TYPES, EntityTable, Schema
from interlock.contract import Change, Outcome, Record, Request
from interlock.entity import unchanged
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound, Unavailable, Unsupported
from interlock.trail import entry_of

__all__ = ["Writer", "Written"]

_KINDS: Final = {"create": "created", "update": "updated", "delete": "deleted", "restore": "restored", "put": "updated"}


class Written(NamedTuple):
    """What a call did: its outcomes, the changes to tell of, and the ids of the audit entries that it wrote."""

    outcomes: tuple[Outcome, ...]
    changes: tuple[Change, ...] = ()
    entries: tuple[Record, ...] = ()


class _Step(NamedTuple):
    """One accepted item: the row before (None where there was none) and after."""

    before: Record | None
    after: Record


class _TableStatements:
    """The statements of writes to one table."""

    def __init__(self, of: EntityTable, dialect: Dialect) -> None:
        table, c = of.table, of.table.c
        tenant = c.tenant_id == bindparam("tenant")
        named = dialect.in_list(c.id, "ids", TYPES["id"])
        extra = ("_forwarded",) if "_forwarded" in c else ()
        self.written = (*of.written, "_seq", *extra)
        locked = select(c["_seq"], *of.selected).where(tenant, named).order_by(c.id)
        self.lock = compiled(locked.with_for_update() if dialect.locks_rows else locked, dialect)
        self.insert = compiled(
            table.insert().values({name: bindparam(f"v_{name}", type_=c[name].type) for name in self.written}), dialect
        )
        self.update = self._update(of, dialect, of.written)
        self.put = self._update(of, dialect, (*of.written, "_seq"))
        taken: list[ColumnElement[bool]] = [named]
        uniques = [of.unique_column(u.field) for u in of.entity.unique]
        for unique, column in zip(of.entity.unique, uniques, strict=True):
            taken.append(and_(c.deleted_at.is_(None), dialect.in_list(column, f"u_{unique.field}", column.type)))
        self.taken = compiled(select(c.id, c.deleted_at.is_(None), *uniques).where(tenant, or_(*taken)), dialect)

    def _update(self, of: EntityTable, dialect: Dialect, names: Sequence[str]) -> Statement:
        c = of.table.c
        changed = {
            name: bindparam(f"v_{name}", type_=c[name].type) for name in names if name not in ("id", "tenant_id")
        }
        keys = (c.tenant_id == bindparam("v_tenant_id"), c.id == bindparam("v_id"))
        return compiled(update(of.table).where(*keys).values(changed), dialect)


class _Taken:
    """Which ids and unique values are in use: what the database said, and what this call has accepted since."""

    def __init__(self, of: EntityTable, rows: Iterable[Sequence[Any]]) -> None:
        self._of = of
        self.ids: set[str] = set()
        self._holders: dict[tuple[str, Any], str] = {}
        for record_id, alive, *values in rows:
            self.ids.add(record_id)
            if alive:
                for unique, value in zip(of.entity.unique, values, strict=True):
                    self._holders.setdefault((unique.field, value), record_id)

    def in_the_way(self, row: Record) -> Duplicate | None:
        """The error for a row that wants what another has."""
        for unique in self._of.entity.unique:
            value = self._of.entity.unique_value(unique, row)
            holder = None if value is None else self._holders.get((unique.field, value))
            if holder is not None and holder != row.id:
                return Duplicate(self._of.entity.resource, unique.field, holder)
        return None

    def accept(self, before: Record | None, after: Record) -> None:
        """The row has its values from now on, and has left its old ones."""
        self.ids.add(after.id)
        for unique in self._of.entity.unique:
            if before is not None:
                old = (unique.field, self._of.entity.unique_value(unique, before))
                if self._holders.get(old) == after.id:
                    del self._holders[old]
            value = self._of.entity.unique_value(unique, after)
            if value is not None and after.deleted_at is None:
                self._holders[unique.field, value] = after.id


class Writer:
    """Carries out the writing verbs on a session in a transaction."""

    def __init__(self, schema: Schema, dialect: Dialect, clock: Callable[[], datetime], name: str) -> None:
        self._schema = schema
        self._dialect = dialect
        self._clock = clock
        self._name = name
        self._kept: dict[str, _TableStatements] = {}
        self._verbs = {
            "create": self._create,
            "update": self._update,
            "delete": self._delete,
            "restore": self._restore,
            "put": self._put,
        }
        self._build_shared()

    def _build_shared(self) -> None:
        def compile_(statement: ClauseElement) -> Statement:
            return compiled(statement, self._dialect)

        o, s = self._schema.operations, self._schema.sequences
        self._begin_operation = compile_(upsert(o).on_conflict_do_nothing().returning(o.c.operation_id))
        self._known_operation = compile_(
            select(o.c.fingerprint, o.c.outcomes).where(
                o.c.tenant_id == bindparam("tenant"), o.c.operation_id == bindparam("operation")
            )
        )
        self._end_operation = compile_(
            update(o)
            .where(o.c.tenant_id == bindparam("tenant"), o.c.operation_id == bindparam("operation"))
            .values(outcomes=bindparam("packed", type_=LargeBinary()))
        )
        new = upsert(s)
        count = new.excluded.value
        key = [s.c.tenant_id, s.c.resource]
        self._reserve = compile_(
            new.on_conflict_do_update(index_elements=key, set_={"value": s.c.value + count}).returning(s.c.value)
        )
        higher = self._higher(s.c.value, count)
        self._raise = compile_(new.on_conflict_do_update(index_elements=key, set_={"value": higher}))

    def _higher(self, stored: ColumnElement[int], given: ColumnElement[int]) -> ColumnElement[int]:
        # SQLite's max() of two values is PostgreSQL's greatest().
        return (
            func.greatest(stored, given, type_=BigInteger())
            if self._dialect.locks_rows
            else func.max(stored, given, type_=BigInteger())
        )

    async def run(self, session: Session, request: Request) -> Written:
        """The whole call, in the session's transaction."""
        of = self._schema.entities[request.resource]
        if of.entity.append_only and request.verb in ("update", "delete", "restore"):
            raise Unsupported(self._name, f"{request.verb} of {request.resource}, whose rows are never changed")
        if not request.operation_id:
            return await self._apply(session, of, request)
        key = {"tenant": request.identity.tenant_id, "operation": request.operation_id}
        known = await self._remember(session, request, key)
        if known is not None:
            return Written(unpack(of.entity, known))
        written = await self._apply(session, of, request)
        await self._execute(session, self._end_operation, {**key, "packed": pack(written.outcomes)})
        return written

    async def _remember(self, session: Session, request: Request, key: Mapping[str, str]) -> bytes | None:
        """The packed outcomes if this operation has been done; else it is begun, and nobody else can until we end."""
        mark = fingerprint(request)
        at = self._time(self._clock())
        begun = await self._fetch(
            session,
            self._begin_operation,
            {
                "tenant_id": key["tenant"],
                "operation_id": key["operation"],
                "fingerprint": mark,
                "outcomes": None,
                "at": at,
            },
        )
        if begun:
            return None
        found = await self._fetch(session, self._known_operation, key)
        if not found or found[0][1] is None:
            raise Unavailable(
                f"{self._name}: the first call with this operation id has not ended; try again", retry_after=0.1
            )
        if bytes(found[0][0]) != mark:
            raise Invalid({"operation_id": "was used for another request; mint a new one"})
        return bytes(found[0][1])

    async def _apply(self, session: Session, of: EntityTable, request: Request) -> Written:
        outcomes, steps = await self._verbs[request.verb](session, of, request)
        entries: tuple[Record, ...] = ()
        if steps and request.verb != "put" and of is not self._schema.audit:
            at = steps[0].after.updated_at or self._clock()
            entries = tuple([entry_of(of.entity, request, step.before, step.after, at, self._name) for step in steps])
            await self._insert(session, self._schema.audit, entries, waiting=True)
        kind: Any = _KINDS[request.verb]
        changes = [
            Change(
                kind="created" if step.before is None else "deleted" if step.after.deleted_at is not None else kind,
                resource=request.resource,
                record_id=step.after.id,
                version=step.after.version,
                row=step.after,
            )
            for step in steps
        ]
        return Written(tuple(outcomes), tuple(changes), entries)

    # The verbs: outcomes of all items, and the steps that were accepted and written.

    async def _create(self, session: Session, of: EntityTable, request: Request) -> tuple[list[Outcome], list[_Step]]:
        now = self._clock()
        who = request.identity
        owned = {
            "tenant_id": who.tenant_id,
            "created_at": now,
            "updated_at": now,
            "created_by": who.user_id,
            "updated_by": who.user_id,
        }
        rows = [msgspec.structs.replace(row, **owned, version=1, deleted_at=None) for row in request.rows]
        taken = await self._look(session, of, who.tenant_id, [row.id for row in rows], rows)
        errors: list[Duplicate | None] = []
        for row in rows:
            error = Duplicate(request.resource, "id", row.id) if row.id in taken.ids else taken.in_the_way(row)
            errors.append(error)
            if error is None:
                taken.accept(None, row)
        if of.entity.sequence is not None:
            rows = await self._number(session, of, who.tenant_id, rows, errors)
        accepted = [row for row, error in zip(rows, errors, strict=True) if error is None]
        await self._insert(session, of, accepted)
        outcomes = [
            Outcome(row.id, row) if error is None else Outcome(row.id, error=error)
            for row, error in zip(rows, errors, strict=True)
        ]
        return outcomes, [_Step(None, row) for row in accepted]

    async def _number(
        self, session: Session, of: EntityTable, tenant: str, rows: list[Record], errors: Sequence[Duplicate | None]
    ) -> list[Record]:
        count = sum(error is None for error in errors)
        if not count:
            return rows
        name = of.entity.sequence or ""
        last = await self._fetch(
            session, self._reserve, {"tenant_id": tenant, "resource": of.entity.resource, "value": count}
        )
        number = last[0][0] - count
        numbered = []
        for row, error in zip(rows, errors, strict=True):
            if error is None:
                number += 1
                row = msgspec.structs.replace(row, **{name: number})
            numbered.append(row)
        return numbered

    async def _update(self, session: Session, of: EntityTable, request: Request) -> tuple[list[Outcome], list[_Step]]:
        patch = dict(request.patch or {})

        def decide(before: Record, now: datetime) -> Record | InterlockError:
            if before.deleted_at is not None:
                return NotFound(request.resource, before.id)
            if error := self._conflict(request, before):
                return error
            return before if unchanged(before, patch) else self._next(request, before, now, **patch)

        return await self._change(session, of, request, decide)

    async def _delete(self, session: Session, of: EntityTable, request: Request) -> tuple[list[Outcome], list[_Step]]:
        def decide(before: Record, now: datetime) -> Record | InterlockError:
            if before.deleted_at is not None:
                return NotFound(request.resource, before.id)
            return self._conflict(request, before) or self._next(request, before, now, deleted_at=now)

        return await self._change(session, of, request, decide)

    async def _restore(self, session: Session, of: EntityTable, request: Request) -> tuple[list[Outcome], list[_Step]]:
        def decide(before: Record, now: datetime) -> Record | InterlockError:
            if error := self._conflict(request, before):
                return error
            return before if before.deleted_at is None else self._next(request, before, now, deleted_at=None)

        return await self._change(session, of, request, decide)

    def _conflict(self, request: Request, before: Record) -> Conflict | None:
        expected = request.expected_version
        if expected is None or expected == before.version:
            return None
        return Conflict(request.resource, before.id, expected, before)

    def _next(self, request: Request, before: Record, now: datetime, **changed: Any) -> Record:
        owned = {"updated_at": now, "updated_by": request.identity.user_id, "version": before.version + 1}
        return msgspec.structs.replace(before, **changed, **owned)

    async def _change(
        self,
        session: Session,
        of: EntityTable,
        request: Request,
        decide: Callable[[Record, datetime], Record | InterlockError],
    ) -> tuple[list[Outcome], list[_Step]]:
        """Decide each named row in order; write those that changed."""
        now = self._clock()
        current = {row.id: row for _, row in await self._lock(session, of, request.identity.tenant_id, request.ids)}
        wanted = [
            after for row in current.values() if isinstance(after := decide(row, now), Record) and after is not row
        ]
        taken = (
            await self._look(session, of, request.identity.tenant_id, (), wanted)
            if of.entity.unique and wanted
            else _Taken(of, ())
        )
        outcomes: list[Outcome] = []
        steps: list[_Step] = []
        for record_id in request.ids:
            before = current.get(record_id)
            decided = NotFound(request.resource, record_id) if before is None else decide(before, now)
            if isinstance(decided, Record) and decided is not before:
                decided = taken.in_the_way(decided) or decided if decided.deleted_at is None else decided
            if isinstance(decided, InterlockError):
                outcomes.append(Outcome(record_id, error=decided))
                continue
            outcomes.append(Outcome(record_id, decided))
            if decided is not before:
                taken.accept(before, decided)
                steps.append(_Step(before, decided))
                current[record_id] = decided
        await self._write(session, of, self._statements(of).update, [step.after for step in steps])
        return outcomes, steps

    async def _put(self, session: Session, of: EntityTable, request: Request) -> tuple[list[Outcome], list[_Step]]:
        tenant = request.identity.tenant_id
        for row in request.rows:
            if row.tenant_id != tenant:
                raise Invalid({"tenant_id": "is another tenant's; put each tenant's rows by itself"})
            if row.created_at is None or row.updated_at is None:
                raise Invalid({"created_at": "is missing; put takes whole images of rows"})
        ids = [row.id for row in request.rows]
        stored = {row.id: (sequence, row) for sequence, row in await self._lock(session, of, tenant, ids)}
        taken = await self._look(session, of, tenant, (), request.rows) if of.entity.unique else _Taken(of, ())
        outcomes: list[Outcome] = []
        steps: dict[str, _Step] = {}
        for row in request.rows:
            sequence, before = stored.get(row.id, (0, None))
            if sequence >= request.sequence or (before is not None and of is self._schema.audit):
                outcomes.append(Outcome(row.id))
            elif row.deleted_at is None and (error := taken.in_the_way(row)):
                outcomes.append(Outcome(row.id, error=error))
            else:
                taken.accept(before, row)
                stored[row.id] = (request.sequence, row)
                steps[row.id] = _Step(before, row)
                outcomes.append(Outcome(row.id, row))
        await self._insert(session, of, [s.after for s in steps.values() if s.before is None], request.sequence)
        changed = [s.after for s in steps.values() if s.before is not None]
        await self._write(session, of, self._statements(of).put, changed, request.sequence)
        await self._raise_counter(session, of, tenant, [s.after for s in steps.values()])
        return outcomes, list(steps.values())

    async def _raise_counter(self, session: Session, of: EntityTable, tenant: str, rows: Sequence[Record]) -> None:
        name = of.entity.sequence
        highest = max((getattr(row, name) for row in rows), default=0) if name else 0
        if highest:
            await self._execute(
                session, self._raise, {"tenant_id": tenant, "resource": of.entity.resource, "value": highest}
            )

    # Statements.

    def _statements(self, of: EntityTable) -> _TableStatements:
        """Compiled on first use: most programs write to few of the tables."""
        found = self._kept.get(of.entity.resource)
        if found is None:
            found = self._kept[of.entity.resource] = _TableStatements(of, self._dialect)
        return found

    async def _lock(
        self, session: Session, of: EntityTable, tenant: str, ids: Sequence[str]
    ) -> list[tuple[int, Record]]:
        given = {"tenant": tenant, "ids": self._dialect.list_value(sorted(set(ids)))}
        found = await self._fetch(session, self._statements(of).lock, given)
        return [(values[0], of.row(values[1:])) for values in found]

    async def _look(
        self, session: Session, of: EntityTable, tenant: str, ids: Sequence[str], rows: Sequence[Record]
    ) -> _Taken:
        given: dict[str, Any] = {"tenant": tenant, "ids": self._dialect.list_value(ids)}
        for unique in of.entity.unique:
            bind = self._dialect.bind(of.entity.fields[unique.field].kind)
            values = {value for row in rows if (value := of.entity.unique_value(unique, row)) is not None}
            given[f"u_{unique.field}"] = self._dialect.list_value([bind(v) if bind else v for v in values])
        return _Taken(of, await self._fetch(session, self._statements(of).taken, given))

    async def _insert(
        self, session: Session, of: EntityTable, rows: Sequence[Record], sequence: int = 0, *, waiting: bool = False
    ) -> None:
        if not rows:
            return
        statement = self._statements(of)
        # Only the entries of our own writes wait to be forwarded; what is written to the trail itself is where it belongs.
        extra = (sequence, not waiting) if of is self._schema.audit else (sequence,)
        await self._many(session, statement.insert, statement.written, [(*of.values(row), *extra) for row in rows])

    async def _write(
        self, session: Session, of: EntityTable, statement: Statement, rows: Sequence[Record], sequence: int = 0
    ) -> None:
        if rows:
            await self._many(session, statement, (*of.written, "_seq"), [(*of.values(row), sequence) for row in rows])

    async def _many(
        self, session: Session, statement: Statement, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        order = [columns.index(name.removeprefix("v_")) for name in statement.names]
        await session.execute_many(statement.sql, [[row[i] for i in order] for row in rows])

    async def _fetch(self, session: Session, statement: Statement, given: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
        return await session.fetch(statement.sql, statement.values(given))

    async def _execute(self, session: Session, statement: Statement, given: Mapping[str, Any]) -> None:
        await session.execute(statement.sql, statement.values(given))

    def _time(self, at: datetime) -> Any:
        bind = self._dialect.bind("datetime")
        return at if bind is None else bind(at)
