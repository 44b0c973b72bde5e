"""The reading verbs: a Query becomes one call of PostgREST, or of a function of the database where a URL would be too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import msgspec

from interlock.backends.supabase.client import Caller
from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.compile import after, beyond, columns_of, conditions, order, quoted
from interlock.backends.supabase.faults import Concern
from interlock.contract import MAX_LIMIT, Aggregate, GroupRow, Query, Request, Response, Sort
from interlock.errors import Unavailable
from interlock.http import Reply
from interlock.paging import decode_cursor, encode_cursor, full_order

__all__ = ["Reader"]

LONGEST_URL: Final = 6_000
"""Characters: what every front of a project takes."""

IDS_AT_ONCE: Final = 100
"""Ids that one URL asks for."""

_PAST_THE_END: Final = 416

_PYTHON: Final[Mapping[str, Any]] = {
    "int": int,
    "float": float,
    "decimal": Decimal,
    "bool": bool,
    "date": date,
    "datetime": datetime,
}

_groups = msgspec.json.Decoder(list[list[Any]])


class Reader:
    """Answers find, get and aggregate."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name

    async def find(self, request: Request) -> Response:
        """A page. One row more than asked for tells whether others follow."""
        query = request.query or Query()
        codec = self._codecs[request.resource]
        sorts = full_order(query)
        matching = conditions(codec.entity, query)
        wanted = list(matching)
        if query.cursor is not None:
            wanted.append(after(codec.entity, sorts, decode_cursor(codec.entity, sorts, query.cursor)))
        # A project gives at most a thousand rows at once: whether another follows a full page is asked for apart.
        limit = min(query.limit + 1, MAX_LIMIT)
        params = {"select": codec.select, "limit": str(limit)}
        if query.offset:
            params["offset"] = str(query.offset)
        if query.near is None or query.sort:
            params["order"] = order(codec.entity, sorts)
        counted = query.count if query.cursor is None else "none"
        try:
            rows, total = await self._page(request, codec, query, wanted, params, counted)
            if query.cursor is not None and query.count != "none":
                nothing = {"select": codec.select, "limit": "0"}
                _, total = await self._page(request, codec, query, matching, nothing, query.count)
            more = len(rows) > query.limit
            if len(rows) == query.limit == MAX_LIMIT:
                more = await self._another(request, codec, query, wanted, params)
        except _TooLongError:
            rows, total = await self._find_at_length(request, codec, query, sorts, query.limit + 1)
            more = len(rows) > query.limit
        rows = rows[: query.limit]
        cursor = encode_cursor(sorts, rows[-1]) if more and rows and query.near is None else None
        return Response(rows=rows, total=total, next_cursor=cursor, backend=self._name, epoch=request.epoch)

    async def get(self, request: Request) -> Response:
        """The rows of the ids, in the order asked."""
        codec = self._codecs[request.resource]
        ids = tuple(dict.fromkeys(request.ids))
        deleted = conditions(codec.entity, Query(deleted=request.query.deleted if request.query else "without"))
        parts = [ids[start : start + IDS_AT_ONCE] for start in range(0, len(ids), IDS_AT_ONCE)]
        answers = await asyncio.gather(*(self._some(request, codec, part, deleted) for part in parts))
        found = {row.id: row for rows in answers for row in rows}
        rows = tuple(found[one] for one in ids if one in found)
        return Response(rows=rows, backend=self._name, epoch=request.epoch)

    async def aggregate(self, request: Request) -> Response:
        """The groups, computed by the database."""
        query = request.query or Query()
        aggregate = request.aggregate or Aggregate()
        codec = self._codecs[request.resource]
        arguments = {
            "resource": request.resource,
            "question": _question(query),
            "grouped": [{"field": group.field, "bucket": group.bucket} for group in aggregate.group_by],
            "measured": [{"op": measure.op, "field": measure.field} for measure in aggregate.measures],
        }
        concern = Concern(request.resource)
        body = await self._caller.function(
            request.identity, "interlock_aggregate", arguments, concern=concern, deadline=request.deadline
        )
        try:
            groups = tuple(_group(codec, aggregate, row) for row in _groups.decode(body))
        except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
            raise Unavailable("supabase answered groups that do not fit the question") from error
        return Response(groups=groups, backend=self._name, epoch=request.epoch)

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _page(
        self,
        request: Request,
        codec: Codec,
        query: Query,
        wanted: list[str],
        params: Mapping[str, str],
        count: str,
    ) -> tuple[tuple[Any, ...], int | None]:
        headers = {} if count == "none" else {"Prefer": f"count={count}"}
        reply = await self._ask(request, query, wanted, params, headers)
        total = _total(reply) if count != "none" else None
        if reply.status == _PAST_THE_END:
            return (), total
        return codec.rows(reply.body), total

    async def _another(
        self, request: Request, codec: Codec, query: Query, wanted: list[str], params: Mapping[str, str]
    ) -> bool:
        offset = query.offset + query.limit
        rows, _ = await self._page(
            request, codec, query, wanted, {**params, "offset": str(offset), "limit": "1"}, "none"
        )
        return bool(rows)

    async def _some(self, request: Request, codec: Codec, ids: tuple[str, ...], deleted: list[str]) -> tuple[Any, ...]:
        wanted = [f"id.in.({','.join(map(quoted, ids))})", *deleted]
        params = {"select": codec.select}
        rows, _ = await self._page(request, codec, Query(), wanted, params, "none")
        return rows

    async def _ask(
        self,
        request: Request,
        query: Query,
        wanted: list[str],
        params: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Reply:
        path, more = request.resource, ""
        if query.near is not None:
            near = query.near
            path = f"rpc/{path}_near"
            more = f"&lat={near.lat!r}&lon={near.lon!r}&km={near.km!r}"
        asked = "&".join(f"{name}={quote(value, safe=_SAFE)}" for name, value in params.items()) + more
        group = f"&and=({quote(','.join(wanted), safe=_SAFE)})" if wanted else ""
        if len(path) + len(asked) + len(group) > LONGEST_URL:
            raise _TooLongError
        return await self._caller.send(
            "GET",
            f"{path}?{asked}{group}",
            Concern(request.resource),
            request.identity,
            headers=headers,
            deadline=request.deadline,
            also=(_PAST_THE_END,),
        )

    async def _find_at_length(
        self, request: Request, codec: Codec, query: Query, sorts: tuple[Sort, ...], limit: int
    ) -> tuple[tuple[Any, ...], int | None]:
        """The same by a function of the database, which takes the question in its body."""
        question = _question(query)
        if query.cursor is not None:
            question["after"] = columns_of(
                beyond(codec.entity, sorts, decode_cursor(codec.entity, sorts, query.cursor))
            )
        arguments = {
            "resource": request.resource,
            "question": question,
            "selected": {field.wire: field.name for field in codec.entity.fields.values()},
            "sorted": [] if query.near is not None else [{"field": s.field, "descending": s.descending} for s in sorts],
            "most": limit,
            "skipped": query.offset,
            "counted": query.count != "none",
        }
        body = await self._caller.function(
            request.identity,
            "interlock_find",
            arguments,
            concern=Concern(request.resource),
            deadline=request.deadline,
        )
        try:
            found = _found.decode(body)
        except msgspec.DecodeError as error:
            raise Unavailable("supabase answered no rows to a long question") from error
        return codec.rows(bytes(found.rows)), found.total


class _TooLongError(Exception):
    """No URL can hold the question."""


class _Found(msgspec.Struct):
    rows: msgspec.Raw
    total: int | None = None


_found = msgspec.json.Decoder(_Found)


def _question(query: Query) -> dict[str, Any]:
    near = query.near
    return {
        "filter": None if query.where is None else columns_of(query.where),
        "needle": query.search,
        "deleted": query.deleted,
        "near": None if near is None else {"lat": near.lat, "lon": near.lon, "km": near.km},
    }


_SAFE: Final = ",.:()*-_"
"""What of a group's syntax need not be encoded; everything of a value's that matters is."""


def _total(reply: Reply) -> int:
    """What stands behind the slash of Content-Range: `0-49/1234`, or `*/0`."""
    _, _, total = (reply.header("content-range") or "").rpartition("/")
    if not total.isdecimal():
        raise Unavailable("supabase answered a count that is no number")
    return int(total)


def _group(codec: Codec, aggregate: Aggregate, row: list[Any]) -> GroupRow:
    cut = len(aggregate.group_by)
    if len(row) != cut + len(aggregate.measures):
        raise ValueError("another number of columns")
    fields = codec.entity.fields
    keys = tuple(
        value if group.bucket is not None else _typed(fields[group.field].kind, value)
        for group, value in zip(aggregate.group_by, row[:cut], strict=True)
    )
    values = tuple(
        value if measure.field is None else _typed(fields[measure.field].kind, value)
        for measure, value in zip(aggregate.measures, row[cut:], strict=True)
    )
    return GroupRow(keys, values)


def _typed(kind: str, value: Any) -> Any:
    """A JSON value in a field's type, without its constraints: a sum may be greater than any one value."""
    python = _PYTHON.get(kind)
    return value if value is None or python is None else msgspec.convert(value, python, strict=False)
