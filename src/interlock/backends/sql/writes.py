"""The writing verbs: one transaction for each call, one outcome for each item.

A call locks the rows that it names, looks once for everything that could be in its way, decides each item in order, and writes them
all with a few statements. Where somebody else took a unique value between the look and the write, the whole call runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from interlock.backends.sql.connections import Session
from interlock.backends.sql.dialects import Dialect
from interlock.backends.sql.operations import pack, unpack
from interlock.backends.sql.statements import Statement
from interlock.backends.sql.tables import EntityTable, Schema
from interlock.backends.sql.taken import Taken
from interlock.backends.sql.write_statements import SharedStatements, WriteStatements
from interlock.contract import Change, Outcome, Record, Request
from interlock.entity import unchanged
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound, Unavailable, Unsupported
from interlock.operations import fingerprint
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


class Writer:
    """Carries out the writing verbs on a session in a transaction."""

    def __init__(self, schema: Schema, dialect: Dialect, clock: Callable[[], datetime], name: str) -> None:
        self._schema = schema
        self._dialect = dialect
        self._clock = clock
        self._name = name
        self._kept: dict[str, WriteStatements] = {}
        self._verbs = {
            "create": self._create,
            "update": self._update,
            "delete": self._delete,
            "restore": self._restore,
            "put": self._put,
        }
        self._shared = SharedStatements(schema, dialect)

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
        await self._execute(session, self._shared.end_operation, {**key, "packed": pack(written.outcomes)})
        return written

    async def _remember(self, session: Session, request: Request, key: Mapping[str, str]) -> bytes | None:
        """The packed outcomes if this operation has been done; else it is begun, and nobody else can until we end."""
        mark = fingerprint(request)
        at = self._time(self._clock())
        begun = await self._fetch(
            session,
            self._shared.begin_operation,
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
        found = await self._fetch(session, self._shared.known_operation, key)
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
            session, self._shared.reserve, {"tenant_id": tenant, "resource": of.entity.resource, "value": count}
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
            else Taken(of, ())
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
        taken = await self._look(session, of, tenant, (), request.rows) if of.entity.unique else Taken(of, ())
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
                session, self._shared.raise_to, {"tenant_id": tenant, "resource": of.entity.resource, "value": highest}
            )

    # Statements.

    def _statements(self, of: EntityTable) -> WriteStatements:
        """Compiled on first use: most programs write to few of the tables."""
        found = self._kept.get(of.entity.resource)
        if found is None:
            found = self._kept[of.entity.resource] = WriteStatements(of, self._dialect)
        return found

    async def _lock(
        self, session: Session, of: EntityTable, tenant: str, ids: Sequence[str]
    ) -> list[tuple[int, Record]]:
        given = {"tenant": tenant, "ids": self._dialect.list_value(sorted(set(ids)))}
        found = await self._fetch(session, self._statements(of).lock, given)
        return [(values[0], of.row(values[1:])) for values in found]

    async def _look(
        self, session: Session, of: EntityTable, tenant: str, ids: Sequence[str], rows: Sequence[Record]
    ) -> Taken:
        given: dict[str, Any] = {"tenant": tenant, "ids": self._dialect.list_value(ids)}
        for unique in of.entity.unique:
            bind = self._dialect.bind(of.entity.fields[unique.field].kind)
            values = {value for row in rows if (value := of.entity.unique_value(unique, row)) is not None}
            given[f"u_{unique.field}"] = self._dialect.list_value([bind(v) if bind else v for v in values])
        return Taken(of, await self._fetch(session, self._statements(of).taken, given))

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
