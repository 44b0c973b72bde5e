"""The contract over Interlock's own wire: every verb has its request, so nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from interlock.backends.rest.caller import Caller
from interlock.backends.rest.codec import Codec
from interlock.backends.rest.faults import Concern, fault_of
from interlock.backends.rest.filtering import Params
from interlock.contract import (
    Aggregate,
    Condition,
    Filter,
    Group,
    GroupBy,
    GroupRow,
    Outcome,
    Query,
    Request,
    Response,
)
from interlock.errors import Conflict, Duplicate, NotFound, OutcomeUnknown, Unavailable
from interlock.http import Reply

__all__ = ["NativeWire", "decoded"]

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class _Outcome(msgspec.Struct):
    id: str = ""
    row: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] | None = None


class _Outcomes(msgspec.Struct):
    outcomes: list[_Outcome]


class _Rows(msgspec.Struct):
    rows: msgspec.Raw


class _Group(msgspec.Struct):
    key: list[Any]
    values: list[Any]


class _Groups(msgspec.Struct):
    groups: list[_Group]


_outcomes = msgspec.json.Decoder(_Outcomes)
_raw_rows = msgspec.json.Decoder(_Rows)
_groups = msgspec.json.Decoder(_Groups)


def _wired(where: Filter, codec: Codec) -> Filter:
    """The filter under the wire's field names."""
    if isinstance(where, Condition):
        return Condition(codec.wire(where.field), where.op, where.value)
    return Group(where.op, tuple(_wired(item, codec) for item in where.items))


def _present(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value is not None}


class NativeWire:
    """Answers requests by calls to a gateway."""

    def __init__(self, caller: Caller, codecs: Mapping[str, Codec], name: str) -> None:
        self._caller = caller
        self._codecs = codecs
        self._name = name
        self._faults = caller.settings.dialect.faults

    async def handle(self, request: Request) -> Response:
        codec = self._codecs[request.resource]
        if request.verb == "find":
            return await self._find(request, codec)
        if request.verb == "get":
            return await self._get(request, codec)
        if request.verb == "aggregate":
            return await self._aggregate(request, codec)
        if request.verb == "put":
            return await self._put(request, codec)
        items = request.rows if request.verb == "create" else request.ids
        if len(items) == 1:
            return await self._write_one(request, codec)
        return await self._write_many(request, codec)

    # -- reading --------------------------------------------------------------------------------------------------

    async def _find(self, request: Request, codec: Codec) -> Response:
        query = request.query or Query()
        concern = self._concern(request, codec)
        path = self._caller.segment(request.resource)
        url = self._caller.url(path, self._params(query, codec))
        if len(url) > self._caller.settings.dialect.longest_url:
            body = _encode(dict(self._params(query, codec)))
            reply = await self._send("POST", self._caller.url(f"{path}/_find"), concern, request, body=body)
        else:
            reply = await self._send("GET", url, concern, request)
        rows, _ = decoded(codec.rows, reply, concern)
        total = reply.header("x-total-count") if query.count != "none" else None
        if total is not None and not total.isdecimal():
            raise Unavailable(f"{self._name} answered a total that is no number")
        return Response(
            rows=rows,
            total=int(total) if total is not None else None,
            next_cursor=reply.header("x-next-cursor") or None,
            backend=self._name,
            epoch=request.epoch,
        )

    def _params(self, query: Query, codec: Codec) -> Params:
        params: Params = [("_limit", str(query.limit))]
        if query.where is not None:
            params.append(("_filter", _encode(_wired(query.where, codec)).decode()))
        if query.search is not None:
            params.append(("_search", query.search))
        if query.sort:
            params.append(("_sort", ",".join(("-" if s.descending else "") + codec.wire(s.field) for s in query.sort)))
        if query.offset:
            params.append(("_offset", str(query.offset)))
        if query.cursor is not None:
            params.append(("_cursor", query.cursor))
        params.append(("_count", query.count))
        if query.deleted != "without":
            params.append(("_deleted", query.deleted))
        if query.near is not None:
            params.append(("_near", f"{query.near.lat!r},{query.near.lon!r},{query.near.km!r}"))
        return params

    async def _get(self, request: Request, codec: Codec) -> Response:
        deleted = request.query.deleted if request.query else "without"
        ids = tuple(dict.fromkeys(request.ids))
        concern = self._concern(request, codec, ids[0] if len(ids) == 1 else "")
        path = self._caller.segment(request.resource)
        if len(ids) == 1:
            params: Params = [] if deleted == "without" else [("_deleted", deleted)]
            url = self._caller.url(f"{path}/{self._caller.segment(ids[0])}", params)
            try:
                reply = await self._send("GET", url, concern, request)
            except NotFound:
                return Response(backend=self._name, epoch=request.epoch)
            return Response(rows=(decoded(codec.row, reply, concern),), backend=self._name, epoch=request.epoch)
        body = _encode({"verb": "get", "ids": ids, "deleted": deleted})
        reply = await self._send("POST", self._caller.url(f"{path}/_bulk"), concern, request, body=body)
        raw = decoded(_raw_rows.decode, reply, concern)
        rows, _ = decoded(lambda _: codec.rows(bytes(raw.rows)), reply, concern)
        return Response(rows=rows, backend=self._name, epoch=request.epoch)

    async def _aggregate(self, request: Request, codec: Codec) -> Response:
        query = request.query or Query()
        aggregate = request.aggregate or Aggregate()
        concern = self._concern(request, codec)
        asked: dict[str, Any] = {
            "deleted": query.deleted,
            "groupBy": [_present(field=codec.wire(g.field), bucket=g.bucket) for g in aggregate.group_by],
            "measures": [_present(op=m.op, field=m.field and codec.wire(m.field)) for m in aggregate.measures],
        }
        if query.where is not None:
            asked["filter"] = _wired(query.where, codec)
        if query.search is not None:
            asked["search"] = query.search
        url = self._caller.url(f"{self._caller.segment(request.resource)}/_aggregate")
        reply = await self._send("POST", url, concern, request, body=_encode(asked))
        answer = decoded(_groups.decode, reply, concern)
        try:
            groups = tuple(self._group(group, aggregate, codec) for group in answer.groups)
        except (msgspec.ValidationError, ValueError) as error:
            raise Unavailable(f"{self._name} answered groups that do not fit the question") from error
        return Response(groups=groups, backend=self._name, epoch=request.epoch)

    def _group(self, group: _Group, aggregate: Aggregate, codec: Codec) -> GroupRow:
        keys = (_typed(codec, g, key) for g, key in zip(aggregate.group_by, group.key, strict=True))
        values = (
            value if m.op == "count" or m.field is None else _typed(codec, GroupBy(m.field), value)
            for m, value in zip(aggregate.measures, group.values, strict=True)
        )
        return GroupRow(tuple(keys), tuple(values))

    # -- writing --------------------------------------------------------------------------------------------------

    async def _write_one(self, request: Request, codec: Codec) -> Response:
        path = self._caller.segment(request.resource)
        if request.verb == "create":
            target, method = request.rows[0].id, "POST"
            values = codec.values(request.rows[0], codec.entity.writable)
            body: bytes | None = codec.encode(values)
        else:
            target = request.ids[0]
            path = f"{path}/{self._caller.segment(target)}"
            method = {"update": "PATCH", "delete": "DELETE", "restore": "POST"}[request.verb]
            body = codec.encode(request.patch or {}) if request.verb == "update" else None
            path += "/restore" if request.verb == "restore" else ""
        concern = self._concern(request, codec, target, write=True)
        headers = self._caller.vouched()
        if request.operation_id:
            headers["Idempotency-Key"] = request.operation_id
        if request.expected_version is not None:
            headers["If-Match"] = f'"{request.expected_version}"'
        try:
            reply = await self._send(method, self._caller.url(path), concern, request, body=body, headers=headers)
        except (NotFound, Conflict, Duplicate) as error:
            return self._written(request, (Outcome(target, error=error),))
        row = decoded(codec.row, reply, concern)
        return self._written(request, (Outcome(row.id, row),))

    async def _write_many(self, request: Request, codec: Codec) -> Response:
        concern = self._concern(request, codec, write=True)
        asked: dict[str, Any] = {"verb": request.verb}
        ids = request.ids
        if request.verb == "create":
            ids = tuple(row.id for row in request.rows)
            names = codec.entity.writable
            asked["rows"] = [msgspec.Raw(codec.encode(codec.values(row, names))) for row in request.rows]
        else:
            asked["ids"] = ids
        if request.verb == "update":
            asked["patch"] = msgspec.Raw(codec.encode(request.patch or {}))
        if request.expected_version is not None:
            asked["expectedVersion"] = request.expected_version
        return await self._bulk(request, codec, concern, "_bulk", asked, ids)

    async def _put(self, request: Request, codec: Codec) -> Response:
        concern = self._concern(request, codec, write=True)
        asked = {"rows": request.rows, "sequence": request.sequence}
        return await self._bulk(request, codec, concern, "_put", asked, tuple(row.id for row in request.rows))

    async def _bulk(
        self, request: Request, codec: Codec, concern: Concern, action: str, asked: Any, ids: tuple[str, ...]
    ) -> Response:
        url = self._caller.url(f"{self._caller.segment(request.resource)}/{action}")
        headers = self._caller.vouched()
        if request.operation_id:
            headers["Idempotency-Key"] = request.operation_id
        reply = await self._send("POST", url, concern, request, body=_encode(asked), headers=headers)
        answer = decoded(_outcomes.decode, reply, concern)
        if len(answer.outcomes) != len(ids):
            raise OutcomeUnknown(request.operation_id, "the write was answered with another number of outcomes")
        outcomes = (self._outcome(o, item, concern, reply) for o, item in zip(answer.outcomes, ids, strict=True))
        return self._written(request, tuple(outcomes))

    def _outcome(self, outcome: _Outcome, id: str, concern: Concern, reply: Reply) -> Outcome:
        assert concern.codec is not None  # noqa: S101 - every write is about an entity
        if outcome.error is not None:
            about = msgspec.structs.replace(concern, id=id)
            status = outcome.error.get("status")
            error = fault_of(outcome.error, self._faults, about, status if isinstance(status, int) else 500)
            return Outcome(outcome.id or id, error=error)
        if bytes(outcome.row) == b"null":
            return Outcome(outcome.id or id)
        raw = bytes(outcome.row)
        codec = concern.codec
        return Outcome(outcome.id or id, decoded(lambda _: codec.row(raw), reply, concern))

    # -- inside ---------------------------------------------------------------------------------------------------

    def _concern(self, request: Request, codec: Codec, id: str = "", *, write: bool = False) -> Concern:
        operation = request.operation_id if write else None
        return Concern(self._name, request.resource, codec, id, request.expected_version, operation)

    async def _send(self, method: str, url: str, concern: Concern, request: Request, **parts: Any) -> Reply:
        return await self._caller.send(
            method, url, concern, identity=request.identity, deadline=request.deadline, **parts
        )

    def _written(self, request: Request, outcomes: tuple[Outcome, ...]) -> Response:
        return Response(outcomes=outcomes, backend=self._name, epoch=request.epoch)


def decoded(decode: Callable[[bytes], T], reply: Reply, concern: Concern) -> T:
    """A body decoded. One that does not fit is as good as none: for a write, its outcome is not known."""
    try:
        return decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if concern.operation_id is not None:
            raise OutcomeUnknown(concern.operation_id, "the write was sent and its answer cannot be read") from error
        raise Unavailable(f"{concern.api} answered {concern.resource} that cannot be read: {error}") from error


def _typed(codec: Codec, group: GroupBy, value: Any) -> Any:
    """A group's key, or a measure, in the field's Python type."""
    if value is None or group.bucket is not None:
        return value
    return msgspec.convert(value, codec.comparable(group.field), strict=False)
