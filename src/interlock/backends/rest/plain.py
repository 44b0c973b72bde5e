"""The contract over anybody's REST API: lists, items, POST, PATCH or PUT, DELETE; item by item, as the dialect has words for."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any

import msgspec

from interlock.backends.rest.caller import Caller
from interlock.backends.rest.codec import Codec
from interlock.backends.rest.dialects import Pages
from interlock.backends.rest.faults import Concern
from interlock.backends.rest.filtering import Params
from interlock.backends.rest.native import decoded
from interlock.contract import Condition, Filter, Group, Outcome, Query, Record, Request, Response, Sort
from interlock.entity import unchanged
from interlock.errors import (
    Conflict,
    Duplicate,
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    Unsupported,
)
from interlock.http import Reply
from interlock.paging import full_order

__all__ = ["PlainWire"]

_MANY = 20
Clock = Callable[[], datetime]


class PlainWire:
    """Answers requests by calls to an API that a dialect describes."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str, clock: Clock) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name
        self._clock = clock
        self._dialect = caller.settings.dialect
        self._writing: AbstractAsyncContextManager[None] = (
            asyncio.Lock() if self._dialect.stamps == "client" else nullcontext()
        )

    async def handle(self, request: Request) -> Response:
        codec = self._codecs[request.resource]
        self._check(request, codec)
        if request.verb == "find":
            return await self._find(request, codec)
        if request.verb == "get":
            rows = await self._get(request, codec)
            return Response(rows=rows, backend=self._name, epoch=request.epoch)
        return await self._write(request, codec)

    def _check(self, request: Request, codec: Codec) -> None:
        """Raises `Unsupported` for what this API has no words for, before anything is sent."""
        dialect, verb = self._dialect, request.verb
        query = request.query or Query()
        if verb in ("aggregate", "put"):
            raise Unsupported(self._name, verb)
        if verb == "restore" and dialect.restore is None:
            raise Unsupported(self._name, "restore: what is deleted is gone")
        if verb in ("find", "get") and query.deleted != "without" and dialect.deleted is None:
            raise Unsupported(self._name, "reading deleted records")
        if query.near is not None:
            raise Unsupported(self._name, "near")
        if query.search is not None and dialect.search is None:
            raise Unsupported(self._name, "search")
        if request.expected_version is not None and dialect.versions is None:
            raise Unsupported(self._name, "expected versions: it has no If-Match")

    # -- reading --------------------------------------------------------------------------------------------------

    async def _find(self, request: Request, codec: Codec) -> Response:
        query = request.query or Query()
        params = self._query_params(query, codec, request)
        offset = _offset_of(query)
        if params is None:
            return Response(total=None if query.count == "none" else 0, backend=self._name, epoch=request.epoch)
        rows, total = await self._range(request, codec, params, offset, query.limit)
        if query.count != "none" and total is None:
            raise Unsupported(self._name, "counting: its lists carry no total")
        more = len(rows) > query.limit if total is None else offset + len(rows) < total
        rows = rows[: query.limit]
        return Response(
            rows=rows,
            total=None if query.count == "none" else total,
            next_cursor=_cursor(query, offset + len(rows)) if more and rows else None,
            backend=self._name,
            epoch=request.epoch,
        )

    async def _range(
        self, request: Request, codec: Codec, params: Params, offset: int, limit: int
    ) -> tuple[tuple[Any, ...], int | None]:
        """The rows from `offset`, and the total; without a total, one row more than `limit` where there is one."""
        paging = self._dialect.paging
        size = min(limit, paging.largest)
        rows: list[Any] = []
        total: int | None = None
        skip = offset % size if isinstance(paging, Pages) else 0
        place = offset - skip
        while True:
            page, total = await self._page(request, codec, params, place, size)
            rows += page[skip:]
            skip, place = 0, place + size
            wanted = limit if total is not None else limit + 1
            if len(page) < size or len(rows) >= wanted or (total is not None and place >= total):
                return tuple(rows[:wanted]), total

    async def _page(
        self, request: Request, codec: Codec, params: Params, place: int, size: int
    ) -> tuple[tuple[Any, ...], int | None]:
        paging = self._dialect.paging
        if isinstance(paging, Pages):
            where = [(paging.page, str(place // size + paging.first)), (paging.size, str(size))]
        else:
            where = [(paging.start, str(place)), (paging.limit, str(size))]
        concern = Concern(self._name, request.resource, codec)
        reply = await self._send("GET", self._path(request.resource), concern, request, params=[*params, *where])
        rows, total = decoded(codec.rows, reply, concern)
        header = self._dialect.envelope.total_header
        if header:
            text = reply.header(header) or ""
            total = int(text) if text.isdecimal() else None
        return tuple(self._own(row, request) for row in rows), total

    def _query_params(self, query: Query, codec: Codec, request: Request) -> Params | None:
        """None where no row can match."""
        dialect = self._dialect
        params = self._filter_params(query.where, codec, request)
        if params is None:
            return None
        if query.search is not None and dialect.search is not None:
            params.append((dialect.search, query.search))
        if dialect.deleted is not None and query.deleted != "without":
            params.append((dialect.deleted, query.deleted))
        return params + self._sort_params(query, codec)

    def _filter_params(self, where: Filter | None, codec: Codec, request: Request) -> Params | None:
        if self._dialect.tenancy == "field":
            mine = Condition("tenant_id", "eq", request.identity.tenant_id)
            where = mine if where is None else Group("and", (mine, where))
        return self._dialect.filtering.compile(where, codec.wire, self._name)

    def _sort_params(self, query: Query, codec: Codec) -> Params:
        sorting = self._dialect.sorting
        if sorting is None:
            if query.sort:
                raise Unsupported(self._name, "sorting")
            return []
        order = full_order(query)
        for sort in order:
            field = codec.entity.fields[sort.field]
            orderly = sorting.nulls_last == "both" or (sorting.nulls_last == "ascending" and not sort.descending)
            if field.nullable and not orderly and sort.field not in ("created_at", "updated_at"):
                raise Unsupported(self._name, f"sorting by {sort.field}, whose nulls it does not put last")
        if sorting.direction is None:
            names = (("-" if sort.descending else "") + codec.wire(sort.field) for sort in order)
            return [(sorting.field, ",".join(names))]
        directions = ",".join("desc" if sort.descending else "asc" for sort in order)
        return [(sorting.field, ",".join(codec.wire(sort.field) for sort in order)), (sorting.direction, directions)]

    async def _get(self, request: Request, codec: Codec) -> tuple[Any, ...]:
        ids = tuple(dict.fromkeys(request.ids))
        if len(ids) == 1:
            row = await self._one(request, codec, ids[0])
            return () if row is None else (row,)
        found: dict[str, Any] = {}
        for start in range(0, len(ids), _MANY):
            part = ids[start : start + _MANY]
            rows = await asyncio.gather(*(self._one(request, codec, wanted) for wanted in part))
            found.update((row.id, row) for row in rows if row is not None)
        return tuple(found[wanted] for wanted in ids if wanted in found)

    async def _one(self, request: Request, codec: Codec, id: str) -> Record | None:
        """A record of this tenant, or None."""
        concern = Concern(self._name, request.resource, codec, id)
        params: Params = []
        if request.query is not None and request.query.deleted != "without" and self._dialect.deleted is not None:
            params = [(self._dialect.deleted, request.query.deleted)]
        try:
            reply = await self._send("GET", self._path(request.resource, id), concern, request, params=params)
            return self._own(decoded(codec.row, reply, concern), request)
        except NotFound:
            return None

    # -- writing --------------------------------------------------------------------------------------------------

    async def _write(self, request: Request, codec: Codec) -> Response:
        """Item by item. An error of the whole call is raised while nothing is written, and from then on is the item's.

        Where the client sets versions, it reads before it writes: one write at a time, lest two of this process come between each other.
        """
        verbs: Mapping[str, Callable[[Request, Codec, Any, Concern], Awaitable[Record]]] = {
            "create": self._create,
            "update": self._update,
            "delete": self._delete,
            "restore": self._restore,
        }
        write = verbs[request.verb]
        outcomes: list[Outcome] = []
        items: tuple[Any, ...] = request.rows if request.verb == "create" else request.ids
        for place, item in enumerate(items):
            target = item.id if isinstance(item, Record) else item
            operation = request.operation_id if len(items) == 1 else f"{request.operation_id}:{place}"
            concern = Concern(self._name, request.resource, codec, target, request.expected_version, operation)
            try:
                async with self._writing:
                    row = await write(request, codec, item, concern)
                outcomes.append(Outcome(target, row))
            except (NotFound, Conflict, Duplicate) as error:
                outcomes.append(Outcome(target, error=error))
            except InterlockError as error:
                if not any(outcome.ok for outcome in outcomes):
                    raise
                outcomes.append(Outcome(target, error=error))
        return Response(outcomes=tuple(outcomes), backend=self._name, epoch=request.epoch)

    async def _create(self, request: Request, codec: Codec, row: Record, concern: Concern) -> Record:
        values = codec.values(row, codec.entity.writable)
        if self._dialect.stamps == "client":
            now, user = self._clock(), request.identity.user_id
            stamped = {"created_at": now, "updated_at": now, "created_by": user, "updated_by": user, "version": 1}
            values |= stamped | {"tenant_id": request.identity.tenant_id, "deleted_at": None}
            if codec.entity.sequence is not None:
                values[codec.entity.sequence] = await self._highest(request, codec, codec.entity.sequence) + 1
        reply = await self._send("POST", self._path(request.resource), concern, request, body=codec.encode(values))
        return await self._written(reply, request, codec, concern)

    async def _highest(self, request: Request, codec: Codec, sequence: str) -> int:
        """The tenant's highest number so far."""
        params = self._query_params(Query(sort=(Sort(sequence, descending=True),)), codec, request) or []
        rows, _ = await self._page(request, codec, params, 0, 1)
        return int(getattr(rows[0], sequence)) if rows else 0

    async def _update(self, request: Request, codec: Codec, id: str, concern: Concern) -> Record:
        patch = dict(request.patch or {})
        if not patch:
            return await self._at_version(request, codec, id)
        whole = self._dialect.update == "PUT"
        if whole or self._dialect.stamps == "client":
            before = await self._there(request, codec, id)
            if unchanged(before, patch) and request.expected_version in (None, before.version):
                return before
            if whole:
                patch = codec.values(before, codec.entity.writable) | patch
                if request.expected_version is None and self._dialect.versions:
                    concern = msgspec.structs.replace(concern, expected_version=before.version)
            if self._dialect.stamps == "client":
                patch |= self._stamped(before, request)
        path = self._path(request.resource, id)
        reply = await self._send(self._dialect.update, path, concern, request, body=codec.encode(patch))
        return await self._written(reply, request, codec, concern)

    async def _at_version(self, request: Request, codec: Codec, id: str) -> Record:
        """The record, for a patch of nothing."""
        row = await self._there(request, codec, id)
        if request.expected_version not in (None, row.version):
            raise Conflict(request.resource, id, request.expected_version, row)
        return row

    def _stamped(self, before: Record, request: Request) -> dict[str, Any]:
        stamps = {"updated_at": self._clock(), "updated_by": request.identity.user_id, "version": before.version + 1}
        if self._dialect.update == "PUT":
            owned = ("tenant_id", "created_at", "created_by", "deleted_at")
            stamps |= {name: getattr(before, name) for name in owned}
        return stamps

    async def _delete(self, request: Request, codec: Codec, id: str, concern: Concern) -> Record:
        """The record as it was, marked as deleted now: few APIs answer with it."""
        before = await self._there(request, codec, id)
        await self._send("DELETE", self._path(request.resource, id), concern, request)
        now = self._clock()
        return msgspec.structs.replace(
            before, deleted_at=now, updated_at=now, updated_by=request.identity.user_id, version=before.version + 1
        )

    async def _restore(self, request: Request, codec: Codec, id: str, concern: Concern) -> Record:
        path = f"{self._path(request.resource, id)}/{self._dialect.restore}"
        reply = await self._send("POST", path, concern, request)
        return await self._written(reply, request, codec, concern)

    async def _there(self, request: Request, codec: Codec, id: str) -> Record:
        row = await self._one(request, codec, id)
        if row is None:
            raise NotFound(request.resource, id)
        return row

    async def _written(self, reply: Reply, request: Request, codec: Codec, concern: Concern) -> Record:
        """The record that a write answered, or else the record as it is now."""
        if reply.body.strip():
            return self._own(decoded(codec.row, reply, concern), request)
        try:
            return await self._there(request, codec, concern.id)
        except InterlockError as error:
            raise OutcomeUnknown(concern.operation_id or "", "the write was accepted and cannot be read") from error

    # -- inside ---------------------------------------------------------------------------------------------------

    def _own(self, row: Record, request: Request) -> Record:
        """The row, if it is this tenant's: an API that keeps tenants apart by token need not name them."""
        tenant = request.identity.tenant_id
        if row.tenant_id == tenant:
            return row
        if self._dialect.tenancy == "field":
            raise NotFound(request.resource, row.id)
        if row.tenant_id:
            raise Unavailable(f"{self._name} answered {request.resource} of another tenant")
        return msgspec.structs.replace(row, tenant_id=tenant)

    def _path(self, resource: str, id: str | None = None) -> str:
        path = self._dialect.paths.get(resource, resource).strip("/")
        return path if id is None else f"{path}/{self._caller.segment(id)}"

    async def _send(
        self,
        method: str,
        path: str,
        concern: Concern,
        request: Request,
        *,
        params: Params = [],  # noqa: B006 - never changed
        body: bytes | None = None,
    ) -> Reply:
        url = self._caller.url(path, params)
        if len(url) > self._dialect.longest_url:
            raise Unsupported(self._name, f"a query as long as this one: {len(url)} bytes")
        headers: dict[str, str] = {}
        if concern.operation_id and self._dialect.operation_header:
            headers[self._dialect.operation_header] = concern.operation_id
        if method != "GET" and concern.expected_version is not None and self._dialect.versions == "etag":
            headers["If-Match"] = f'"{concern.expected_version}"'
        return await self._caller.send(
            method,
            url,
            concern,
            identity=request.identity,
            deadline=request.deadline,
            body=body,
            headers=headers,
        )


def _order_of(query: Query) -> str:
    return ",".join(("-" if sort.descending else "") + sort.field for sort in full_order(query))


def _cursor(query: Query, offset: int) -> str:
    """The place after so many rows of an order: APIs that page by number know no better one."""
    return base64.urlsafe_b64encode(f"{offset}:{_order_of(query)}".encode()).rstrip(b"=").decode()


def _offset_of(query: Query) -> int:
    if query.cursor is None:
        return query.offset
    try:
        text = base64.b64decode(query.cursor.encode() + b"=" * (-len(query.cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Invalid({"cursor": "is not a cursor that this service gave; start again without it"}) from error
    number, _, order = text.partition(":")
    if not number.isdecimal():
        raise Invalid({"cursor": "is not a cursor that this service gave; start again without it"})
    if order != _order_of(query):
        raise Invalid({"cursor": "belongs to another order; start again without it"})
    return int(number)


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)
