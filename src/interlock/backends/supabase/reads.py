"""The reading verbs: a Query becomes one call of PostgREST, or of a function of the database where a URL would be too long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.backends.supabase.client import IN_UTC, Caller
from interlock.backends.supabase.codec import UNREADABLE, Codec
from interlock.backends.supabase.compile import after, columns_of, conditions, order
from interlock.backends.supabase.faults import Concern
from interlock.contract import MAX_LIMIT, Aggregate, Condition, Filter, GroupRow, Query, Request, Response, Sort
from interlock.errors import Unavailable
from interlock.http import Reply
from interlock.identifiers import is_id
from interlock.paging import decode_cursor, encode_cursor, full_order

__all__ = ["Reader"]

LONGEST_URL: Final = 7_500
"""Characters after the project's address: what every front of a project takes."""

IDS_IN_A_URL: Final = 150

_PAST_THE_END: Final = 416
_DEFAULT: Final = Query()
_UNCOUNTED: Final[Mapping[str, str]] = MappingProxyType({})
_COUNTED: Final[Mapping[str, str]] = MappingProxyType({"Prefer": f"count=exact, {IN_UTC}"})

_PYTHON: Final[Mapping[str, Any]] = MappingProxyType(
    {"int": int, "float": float, "decimal": Decimal, "bool": bool, "date": date, "datetime": datetime}
)

_groups = msgspec.json.Decoder(list[list[Any]])

Found = tuple[tuple[Any, ...], int | None]
"""Rows, and how many there are in all where that was asked for."""


class Reader:
    """Answers find, get and aggregate."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name

    async def find(self, request: Request) -> Response:
        """A page. One row more than asked for tells whether others follow."""
        query = request.query or _DEFAULT
        codec = self._codecs[request.resource]
        sorts = full_order(query)
        beyond = None
        if query.cursor is not None:
            beyond = after(codec.entity, sorts, decode_cursor(codec.entity, sorts, query.cursor))
        if query.search or query.near is not None:
            # Found by an index that policies hide; of what a function answers, PostgREST filters by no column that isn't selected.
            rows, total = await self._at_length(request, codec, query, sorts, beyond)
        else:
            matching = conditions(codec.entity, query, beyond)
            if len(matching) + len(codec.select) > LONGEST_URL:
                rows, total = await self._at_length(request, codec, query, sorts, beyond)
            else:
                rows, total = await self._by_url(request, codec, query, sorts, matching)
        cursor = None
        if len(rows) > query.limit:
            rows = rows[: query.limit]
            if query.near is None:
                cursor = encode_cursor(sorts, rows[-1])
        return Response(rows=rows, total=total, next_cursor=cursor, backend=self._name, epoch=request.epoch)

    async def get(self, request: Request) -> Response:
        """The rows of the ids, in the order asked."""
        codec = self._codecs[request.resource]
        deleted = request.query.deleted if request.query is not None else "without"
        ids = tuple(dict.fromkeys(filter(is_id, request.ids)))  # no row has an id of another form
        parts = [ids[start : start + MAX_LIMIT] for start in range(0, len(ids), MAX_LIMIT)]
        answers = await asyncio.gather(*(self._some(request, codec, part, Query(deleted=deleted)) for part in parts))
        found = {row.id: row for rows in answers for row in rows}
        rows = tuple([found[one] for one in ids if one in found])
        return Response(rows=rows, backend=self._name, epoch=request.epoch)

    async def aggregate(self, request: Request) -> Response:
        """The groups, computed by the database."""
        query = request.query or _DEFAULT
        asked = request.aggregate or Aggregate()
        codec = self._codecs[request.resource]
        arguments = {
            "resource": request.resource,
            "question": _question(query),
            "grouped": [{"field": group.field, "bucket": group.bucket} for group in asked.group_by],
            "measured": [{"op": measure.op, "field": measure.field} for measure in asked.measures],
        }
        body = await self._function(request, "interlock_aggregate", arguments)
        try:
            groups = tuple(_group(codec, asked, row) for row in _groups.decode(body))
        except (*UNREADABLE, ValueError) as error:
            raise Unavailable("supabase answered groups that do not fit the question") from error
        return Response(groups=groups, backend=self._name, epoch=request.epoch)

    # -- calls ----------------------------------------------------------------------------------------------------

    async def _by_url(
        self, request: Request, codec: Codec, query: Query, sorts: tuple[Sort, ...], matching: str
    ) -> Found:
        asked = f"{request.resource}?select={codec.select}{matching}&order={order(codec.entity, sorts)}"
        # A project gives at most a thousand rows at once: whether another follows a full page is asked for apart.
        most = min(query.limit + 1, MAX_LIMIT)
        url = f"{asked}&limit={most}&offset={query.offset}" if query.offset else f"{asked}&limit={most}"
        if query.count == "none":
            rows, total = await self._ask(request, codec, url), None
        elif query.cursor is None:
            rows, total = await self._ask_counted(request, codec, url)
        else:
            everything = f"{request.resource}?select=id{conditions(codec.entity, query)}&limit=0"
            rows = await self._ask(request, codec, url)
            _, total = await self._ask_counted(request, codec, everything)
        if len(rows) == query.limit == MAX_LIMIT:
            rows += await self._ask(request, codec, f"{asked}&limit=1&offset={query.offset + MAX_LIMIT}")
        return rows, total

    async def _ask(self, request: Request, codec: Codec, url: str) -> tuple[Any, ...]:
        return codec.rows((await self._send(request, url, _UNCOUNTED)).body)

    async def _ask_counted(self, request: Request, codec: Codec, url: str) -> Found:
        # An estimate would be made of all tenants' rows: the project refuses to give one.
        reply = await self._send(request, url, _COUNTED)
        return () if reply.status == _PAST_THE_END else codec.rows(reply.body), _total(reply)

    async def _send(self, request: Request, url: str, headers: Mapping[str, str]) -> Reply:
        return await self._caller.send(
            "GET",
            url,
            Concern(request.resource),
            request.identity,
            headers=headers,
            deadline=request.deadline,
            also=(_PAST_THE_END,) if headers else (),
        )

    async def _some(self, request: Request, codec: Codec, ids: tuple[str, ...], query: Query) -> tuple[Any, ...]:
        if len(ids) > IDS_IN_A_URL:
            named = msgspec.structs.replace(query, where=Condition("id", "in", ids), limit=len(ids))
            return (await self._at_length(request, codec, named, (), None))[0]
        url = f"{request.resource}?select={codec.select}&id=in.({','.join(ids)}){conditions(codec.entity, query)}"
        return await self._ask(request, codec, url)

    async def _at_length(
        self, request: Request, codec: Codec, query: Query, sorts: tuple[Sort, ...], beyond: Filter | None
    ) -> Found:
        """The same by a function, which takes the question in its body."""
        arguments = {
            "resource": request.resource,
            "question": {**_question(query), "after": columns_of(beyond), "near": query.near},
            "selected": codec.columns,
            "sorted": [] if query.near is not None else sorts,
            "most": query.limit + 1,
            "skipped": query.offset,
            "counted": query.count != "none",
        }
        return codec.page(await self._function(request, "interlock_find", arguments))

    async def _function(self, request: Request, name: str, arguments: Mapping[str, Any]) -> bytes:
        return await self._caller.function(
            request.identity, name, arguments, concern=Concern(request.resource), deadline=request.deadline
        )


def _question(query: Query) -> dict[str, Any]:
    return {"filter": columns_of(query.where), "needle": query.search, "deleted": query.deleted}


def _total(reply: Reply) -> int:
    """What stands behind the slash of Content-Range: `0-49/1234`, or `*/0`."""
    total = (reply.header("content-range") or "").rpartition("/")[2]
    if not (total.isascii() and total.isdecimal()):
        raise Unavailable("supabase answered a count that is no number")
    return int(total)


def _group(codec: Codec, asked: Aggregate, row: list[Any]) -> GroupRow:
    cut = len(asked.group_by)
    if len(row) != cut + len(asked.measures):
        raise ValueError("another number of columns")
    fields = codec.entity.fields
    keys = tuple(
        value if group.bucket is not None else _typed(fields[group.field].kind, value)
        for group, value in zip(asked.group_by, row[:cut], strict=True)
    )
    values = tuple(
        value if measure.field is None else _typed(fields[measure.field].kind, value)
        for measure, value in zip(asked.measures, row[cut:], strict=True)
    )
    return GroupRow(keys, values)


def _typed(kind: str, value: Any) -> Any:
    """A JSON value in a field's type, without its constraints: a sum may be greater than any one value."""
    python = _PYTHON.get(kind)
    return value if value is None or python is None else msgspec.convert(value, python, strict=False)
