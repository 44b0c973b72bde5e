"""What every service over an entity does: checked, authorised, typed calls of whichever backend serves it.

A service of your own is an `Entity` and, if it has rules, a subclass of `EntityService` that overrides the hooks
`_check_create`, `_check_update`, `_check_delete` and `_visible`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol, TypeVar, cast

from msgspec.structs import replace

from interlock.abilities import Session, Subscribes
from interlock.contract import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Aggregate,
    Change,
    Condition,
    Count,
    Deleted,
    Filter,
    Group,
    GroupBy,
    GroupRow,
    Identity,
    Measure,
    Near,
    Outcome,
    Page,
    Query,
    Record,
    Request,
    Response,
    Sort,
    Verb,
)
from interlock.entity import Entity, Reference
from interlock.errors import Duplicate, InterlockError, Invalid, NotFound
from interlock.identifiers import derived_id, new_id
from interlock.router import Route
from interlock.services.policy import check
from interlock.validation import check_aggregate, check_patch, check_query, check_row

if TYPE_CHECKING:
    from interlock.services import Services

__all__ = ["Context", "EntityService", "conditions", "parse_sort"]

R = TypeVar("R", bound=Record)

_ELSEWHERE: Final = "elsewhere"
"""A position that no backend knows: it answers with a `resync` first, once nothing can be missed any more."""

_WITH_DELETED = {"with": Query(deleted="with"), "only": Query(deleted="only")}


class Context(Protocol):
    """What a service works with, given by the composition root: one for each session."""

    @property
    def identity(self) -> Identity:
        """Who calls. Raises `Unauthenticated` where nobody is logged in."""
        ...

    @property
    def services(self) -> Services:
        """The sibling services, for the same caller."""
        ...

    @property
    def entities(self) -> Mapping[str, Entity[Any]]:
        """All entities by resource."""
        ...

    @property
    def now(self) -> Callable[[], datetime]:
        """The clock, in UTC."""
        ...

    @property
    def references_checked(self) -> bool:
        """Whether the caller's own services have checked that what it refers to in other services exists."""
        ...

    @property
    def session(self) -> Session | None:
        """The log-in that the caller made here, if they made one."""
        ...

    def adopt(self, session: Session | None) -> None:
        """From now on the caller is who the session says, or nobody."""
        ...

    def route(self, service: str) -> Route:
        """The route of a service, now."""
        ...

    async def written(self, entity: Entity[Any], route: Route, request: Request, answer: Response) -> None:
        """Told of every write that was answered."""
        ...


def parse_sort(sort: str | Sequence[str | Sort]) -> tuple[Sort, ...]:
    """`"-created_at,company_name"`, or a sequence of such names or `Sort`s."""
    parts = [part for part in sort.split(",") if part] if isinstance(sort, str) else sort
    return tuple(
        part if isinstance(part, Sort) else Sort(part.removeprefix("-").strip(), descending=part.startswith("-"))
        for part in parts
    )


def conditions(where: Filter | None, filters: Mapping[str, Any]) -> Filter | None:
    """`where` and all of the keyword filters: `status="active"`, `amount__gte=5`, `id__in=[...]`, `email=None`."""
    if not filters:
        return where
    items: list[Filter] = [] if where is None else [where]
    for key, value in filters.items():
        name, _, op = key.partition("__")
        if value is None and op in ("", "eq"):
            items.append(Condition(name, "is_null", True))
        else:
            items.append(Condition(name, cast("Any", op or "eq"), value))
    return items[0] if len(items) == 1 else Group("and", tuple(items))


class EntityService(Generic[R]):
    """The operations that every entity has. All raise the errors of `interlock.errors` and no others."""

    parts: ClassVar[Mapping[str, type[EntityService[Any]]]] = MappingProxyType({})
    """The services of further resources that this one serves, such as the tags of customers."""

    def __init__(self, entity: Entity[R], context: Context) -> None:
        self.entity = entity
        self.context = context

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.entity.resource!r})"

    # -- reading --------------------------------------------------------------------------------------------------

    async def list(
        self,
        where: Filter | None = None,
        *,
        search: str | None = None,
        sort: str | Sequence[str | Sort] = (),
        limit: int = DEFAULT_LIMIT,
        offset: int = 0,
        cursor: str | None = None,
        count: Count = "none",
        deleted: Deleted = "without",
        near: Near | None = None,
        **filters: Any,
    ) -> Page[R]:
        """One page of records. Keyword filters are joined to `where` by *and*.

        Raises `Invalid` for an unknown field or operator, or a value that is not of the field's type.
        """
        query = Query(
            where=conditions(where, filters),
            search=search,
            sort=parse_sort(sort),
            limit=limit,
            offset=offset,
            cursor=cursor,
            count=count,
            deleted=deleted,
            near=near,
        )
        return await self.find(query)

    async def find(self, query: Query) -> Page[R]:
        """One page of records, for a whole `Query`."""
        entity, context = self.entity, self.context
        identity = context.identity
        check(identity, entity.resource, "list")
        checked = check_query(entity, self._scoped(query))
        route = context.route(entity.service)
        answer = await route.handle(Request("find", entity.resource, identity, checked, epoch=route.epoch))
        return Page(
            answer.rows, answer.total, answer.next_cursor, answer.backend, answer.cached, answer.epoch, answer.stale
        )

    async def iterate(
        self,
        where: Filter | None = None,
        *,
        search: str | None = None,
        sort: str | Sequence[str | Sort] = (),
        page: int = MAX_LIMIT,
        deleted: Deleted = "without",
        **filters: Any,
    ) -> AsyncIterator[R]:
        """All records, a page at a time, along a cursor: rows inserted meanwhile neither repeat nor hide any."""
        cursor: str | None = None
        while True:
            found = await self.list(
                where, search=search, sort=sort, limit=page, cursor=cursor, deleted=deleted, **filters
            )
            for row in found.items:
                yield row
            cursor = found.next_cursor
            if cursor is None:
                return

    async def get(self, id: str, *, deleted: Deleted = "without") -> R:
        """One record. Raises `NotFound`, also for a record of another tenant and for a deleted one."""
        context = self.context
        identity = context.identity
        entity = self.entity
        resource = entity.resource
        check(identity, resource, "get")
        route = context.route(entity.service)
        query = None if deleted == "without" else _WITH_DELETED.get(deleted)
        request = Request("get", resource, identity, query, (id,), epoch=route.epoch)
        at_hand = route.at_hand
        answer = None if at_hand is None else at_hand(request)
        if answer is None:
            answer = await route.handle(request)
        rows = answer.rows
        if not rows or not self._visible(rows[0]):
            raise NotFound(resource, id)
        row: R = rows[0]
        return row

    async def get_many(self, ids: Iterable[str], *, deleted: Deleted = "without") -> tuple[R, ...]:
        """The records of the ids, in their order; those that are not there are absent."""
        wanted = tuple(ids)
        identity = self._allowed("get")
        if not wanted:
            return ()
        answer = await self._send("get", identity, ids=wanted, query=_WITH_DELETED.get(deleted))
        return tuple(row for row in answer.rows if self._visible(row))

    async def aggregate(
        self,
        group_by: Sequence[GroupBy | str] = (),
        measures: Sequence[Measure] = (Measure("count"),),
        where: Filter | None = None,
        *,
        search: str | None = None,
        deleted: Deleted = "without",
        **filters: Any,
    ) -> tuple[GroupRow, ...]:
        """One row per group, ordered by key, nulls last. Sums of money need their currency among the groups."""
        identity = self._allowed("list")
        groups = tuple(GroupBy(group) if isinstance(group, str) else group for group in group_by)
        aggregate = check_aggregate(self.entity, Aggregate(groups, tuple(measures)))
        query = self._scoped(Query(where=conditions(where, filters), search=search, deleted=deleted))
        answer = await self._send("aggregate", identity, query=check_query(self.entity, query), aggregate=aggregate)
        return answer.groups

    async def changes(self, after: str | None = None) -> AsyncGenerator[Change, None]:
        """Accepted writes of this tenant, as they happen. A `resync` change means: read again.

        What is read after a `resync` misses nothing: the stream goes on from before it came. Whoever needs that from the start gives
        as `after` any position that is not known, such as "start". Ends when the backend is closed. When the service is switched, the
        stream goes on at the new backend, with a `resync`.
        """
        identity = self._allowed("list")
        while True:
            route = self.context.route(self.entity.service)
            stream = route.ability(Subscribes).changes(self.entity.resource, identity, after)
            async with aclosing(_until_retired(stream, route)) as found:
                async for change in found:
                    if change.row is None or self._visible(change.row):
                        yield change
            if route is self.context.route(self.entity.service):
                return
            after = _ELSEWHERE

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(
        self, values: R | Mapping[str, Any] | None = None, /, *, operation_id: str | None = None, **fields: Any
    ) -> R:
        """A new record, from a Struct, a mapping, or keywords. Raises `Invalid`, `Duplicate`.

        The same `operation_id` again answers the first outcome and writes nothing.
        """
        identity = self._allowed("create")
        given = values if values is not None and not fields else {**_mapping(values), **fields}
        row = check_row(self.entity, self._identified(given, operation_id, 0))
        (row,) = await self._check_create((row,))
        problems = await self._missing_references(identity, (row,))
        if problems:
            raise problems[0]
        rows = await self._before_create((row,))
        return self._one(await self._write("create", identity, operation_id, rows=rows))

    async def bulk_create(
        self, rows: Iterable[R | Mapping[str, Any]], *, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per row, in order; a bad row fails alone."""
        identity = self._allowed("bulk_create")
        named = (self._identified(row, operation_id, place) for place, row in enumerate(rows))
        outcomes, good = await self._admit(identity, named)
        if good:
            ready = await self._before_create(tuple(good.values()))
            answer = await self._write("create", identity, operation_id, rows=ready)
            outcomes.update(zip(good, answer.outcomes, strict=True))
        return tuple(outcomes[index] for index in sorted(outcomes))

    async def check_create(self, rows: Iterable[R | Mapping[str, Any]]) -> tuple[Outcome, ...]:
        """What `bulk_create` would answer, found without writing: values, rules, references, and ids and unique values that are taken.

        A good row stands in its outcome as it would be sent. Rows are not compared with one another.
        """
        identity = self._allowed("bulk_create")
        outcomes, good = await self._admit(identity, rows)
        taken = await self._taken(identity, tuple(good.values()))
        outcomes |= {index: Outcome(row.id, row, taken.get(row.id)) for index, row in good.items()}
        return tuple(outcomes[index] for index in sorted(outcomes))

    async def _admit(
        self, identity: Identity, rows: Iterable[R | Mapping[str, Any]]
    ) -> tuple[dict[int, Outcome], dict[int, R]]:
        """The outcomes of the bad rows and the good rows, each by its place."""
        outcomes: dict[int, Outcome] = {}
        good: dict[int, R] = {}
        for index, values in enumerate(rows):
            try:
                good[index] = check_row(self.entity, values)
                (good[index],) = await self._check_create((good[index],))
            except InterlockError as error:
                good.pop(index, None)
                outcomes[index] = Outcome("", error=error)
        places = tuple(good)
        problems = await self._missing_references(identity, tuple(good.values()))
        for place, problem in problems.items():
            outcomes[places[place]] = Outcome(good.pop(places[place]).id, error=problem)
        return outcomes, good

    async def _taken(self, identity: Identity, rows: tuple[R, ...]) -> dict[str, Duplicate]:
        """The duplicates that a create would meet, by the id of the row."""
        resource = self.entity.resource
        found: dict[str, Duplicate] = {}
        if not rows:
            return found
        answer = await self._send("get", identity, ids=tuple(row.id for row in rows), query=_WITH_DELETED["with"])
        found = {row.id: Duplicate(resource, "id", row.id) for row in answer.rows}
        for unique in self.entity.unique:
            wanted = {row.id: value for row in rows if (value := self.entity.unique_value(unique, row)) is not None}
            asked = tuple({*wanted.values(), *(getattr(row, unique.field) for row in rows if row.id in wanted)})
            for start in range(0, len(asked), MAX_LIMIT):
                where = Condition(unique.field, "in", asked[start : start + MAX_LIMIT])
                there = await self._send("find", identity, query=Query(where=where, limit=MAX_LIMIT))
                holders = {self.entity.unique_value(unique, row): row.id for row in there.rows}
                for row_id, value in wanted.items():
                    if value in holders:
                        found.setdefault(row_id, Duplicate(resource, unique.field, holders[value]))
        return found

    async def update(
        self,
        id: str,
        patch: Mapping[str, Any] | None = None,
        /,
        *,
        expected_version: int | None = None,
        operation_id: str | None = None,
        **fields: Any,
    ) -> R:
        """The record with the patch applied: a field that is absent stays, None clears.

        Raises `Invalid`, `NotFound`, `Conflict` (not at `expected_version`), `Duplicate`.
        """
        answer = await self._update((id,), {**(patch or {}), **fields}, "update", expected_version, operation_id)
        return self._one(answer)

    async def bulk_update(
        self,
        ids: Iterable[str],
        patch: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        operation_id: str | None = None,
    ) -> tuple[Outcome, ...]:
        """The same patch for many records: one outcome per id, in order."""
        wanted = tuple(ids)
        if not wanted:
            return ()
        return (await self._update(wanted, patch, "bulk_update", expected_version, operation_id)).outcomes

    async def _update(
        self,
        ids: tuple[str, ...],
        values: Mapping[str, Any],
        action: str,
        expected_version: int | None,
        operation_id: str | None,
    ) -> Response:
        identity = self._allowed(action)
        patch = check_patch(self.entity, values)
        patch = MappingProxyType(dict(await self._check_update(ids, patch)))
        await self._check_references(identity, patch)
        return await self._write(
            "update", identity, operation_id, ids=ids, patch=patch, expected_version=expected_version
        )

    async def delete(self, id: str, *, expected_version: int | None = None, operation_id: str | None = None) -> R:
        """The record, now deleted; `restore` brings it back. Raises `NotFound`, `Conflict`."""
        identity = self._allowed("delete")
        await self._check_delete((id,))
        return self._one(
            await self._write("delete", identity, operation_id, ids=(id,), expected_version=expected_version)
        )

    async def bulk_delete(
        self, ids: Iterable[str], *, expected_version: int | None = None, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per id, in order."""
        wanted = tuple(ids)
        identity = self._allowed("bulk_delete")
        if not wanted:
            return ()
        await self._check_delete(wanted)
        answer = await self._write("delete", identity, operation_id, ids=wanted, expected_version=expected_version)
        return answer.outcomes

    async def bulk_restore(
        self, ids: Iterable[str], *, expected_version: int | None = None, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per id, in order."""
        wanted = tuple(ids)
        identity = self._allowed("restore")
        if not wanted:
            return ()
        await self._check_restore(wanted)
        answer = await self._write("restore", identity, operation_id, ids=wanted, expected_version=expected_version)
        return answer.outcomes

    async def restore(self, id: str, *, expected_version: int | None = None, operation_id: str | None = None) -> R:
        """The record, no longer deleted. Raises `NotFound`, `Conflict`, and `Duplicate` where its unique value was taken."""
        identity = self._allowed("restore")
        await self._check_restore((id,))
        return self._one(
            await self._write("restore", identity, operation_id, ids=(id,), expected_version=expected_version)
        )

    # -- hooks for rules ------------------------------------------------------------------------------------------

    async def _check_create(self, rows: tuple[R, ...]) -> tuple[R, ...]:
        """The rows as the rules have them. Raises `Invalid` or `Forbidden`. Writes nothing: a dry run calls it too."""
        return rows

    async def _before_create(self, rows: tuple[R, ...]) -> tuple[R, ...]:
        """The rows, ready to be sent, after what must be written before them, such as the records that they name."""
        return rows

    async def _check_update(self, ids: tuple[str, ...], patch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The patch as the rules have it. Raises `Invalid` or `Forbidden`."""
        return patch

    async def _check_delete(self, ids: tuple[str, ...]) -> None:
        """Raises `Invalid` or `Forbidden` where the rules forbid it."""

    async def _check_restore(self, ids: tuple[str, ...]) -> None:
        """Raises `Invalid` or `Forbidden` where the rules forbid it."""

    def _visible(self, row: R) -> bool:
        """False hides a row from the caller. Reads by query need the same in `_scope`."""
        return True

    def _scope(self) -> Filter | None:
        """A filter that every read by query gets on top: the same as `_visible`, for the backend."""
        return None

    # -- inside ---------------------------------------------------------------------------------------------------

    def _allowed(self, action: str) -> Identity:
        identity = self.context.identity
        check(identity, self.entity.resource, action)
        return identity

    def _scoped(self, query: Query) -> Query:
        scope = self._scope()
        if scope is None:
            return query
        where = scope if query.where is None else Group("and", (scope, query.where))
        return Query(
            where,
            query.search,
            query.sort,
            query.limit,
            query.offset,
            query.cursor,
            query.count,
            query.deleted,
            query.near,
        )

    async def _send(self, verb: Verb, identity: Identity, **parts: Any) -> Response:
        route = self.context.route(self.entity.service)
        return await route.handle(Request(verb, self.entity.resource, identity, epoch=route.epoch, **parts))

    async def _write(self, verb: Verb, identity: Identity, operation_id: str | None, **parts: Any) -> Response:
        route = self.context.route(self.entity.service)
        operation = operation_id or new_id()
        request = Request(verb, self.entity.resource, identity, epoch=route.epoch, operation_id=operation, **parts)
        answer = await route.handle(request)
        await self.context.written(self.entity, route, request, answer)
        return answer

    def _identified(self, values: R | Mapping[str, Any], operation_id: str | None, place: int) -> R | Mapping[str, Any]:
        """With an operation id, a row without an id gets the one that follows from it: the same call makes the same row."""
        if operation_id is None:
            return values
        if isinstance(values, Record):
            return values if values.id else replace(values, id=derived_id(operation_id, self.entity.resource, place))
        if not isinstance(values, Mapping) or values.get("id"):
            return values
        return {**values, "id": derived_id(operation_id, self.entity.resource, place)}

    def _one(self, answer: Response) -> R:
        (outcome,) = answer.outcomes
        if outcome.error is not None:
            raise outcome.error
        return cast("R", outcome.row)

    async def _check_references(self, identity: Identity, patch: Mapping[str, Any]) -> None:
        for reference in self._references():
            target = patch.get(reference.field)
            if target is not None and not await self._existing(identity, reference.resource, (target,)):
                raise Invalid({reference.field: f"there is no such record in {reference.resource}"})

    async def _missing_references(self, identity: Identity, rows: tuple[R, ...]) -> dict[int, Invalid]:
        """The problems by the place of their row."""
        problems: dict[int, dict[str, str]] = {}
        for reference in self._references():
            held = [getattr(row, reference.field) for row in rows]
            wanted = tuple(dict.fromkeys(value for value in held if value is not None))
            if not wanted:
                continue
            existing = await self._existing(identity, reference.resource, wanted)
            for place, value in enumerate(held):
                if value is not None and value not in existing:
                    problem = f"there is no such record in {reference.resource}"
                    problems.setdefault(place, {})[reference.field] = problem
        return {place: Invalid(fields) for place, fields in problems.items()}

    def _references(self) -> Iterable[Reference]:
        """The references to check here: where another Interlock has checked those to other services, the ones within this service."""
        if not self.context.references_checked:
            return self.entity.references
        entities, own = self.context.entities, self.entity.service
        return [reference for reference in self.entity.references if entities[reference.resource].service == own]

    async def _existing(self, identity: Identity, resource: str, ids: tuple[str, ...]) -> frozenset[str]:
        route = self.context.route(self.context.entities[resource].service)
        answer = await route.handle(Request("get", resource, identity, ids=ids, epoch=route.epoch))
        return frozenset(row.id for row in answer.rows)


def _mapping(values: Record | Mapping[str, Any] | None) -> Mapping[str, Any]:
    if values is None:
        return {}
    if isinstance(values, Record):
        raise Invalid({"values": "give a record or keywords, not both"})
    return values


async def _until_retired(stream: AsyncIterator[Change], route: Route) -> AsyncGenerator[Change, None]:
    """The stream's changes until another route takes over; what it raises as its backend goes then is no error.

    The route is held during each step and not between them: a caller who stopped reading keeps no backend alive.
    """
    retired = asyncio.ensure_future(route.retired())
    try:
        while not retired.done():
            with route.held():
                change = await _step(stream, retired)
            if change is None:
                return
            yield change
    finally:
        retired.cancel()
        await asyncio.wait((retired,))
        aclose = getattr(stream, "aclose", None)
        if aclose is not None:
            await aclose()


async def _step(stream: AsyncIterator[Change], retired: asyncio.Future[None]) -> Change | None:
    step: asyncio.Future[Change] = asyncio.ensure_future(anext(stream))
    try:
        await asyncio.wait((step, retired), return_when=asyncio.FIRST_COMPLETED)
        if not step.done():
            return None
        return step.result()
    except StopAsyncIteration:
        return None
    except InterlockError:
        if retired.done():
            return None
        raise
    finally:
        if not step.done():
            step.cancel()
            await asyncio.wait({step})
