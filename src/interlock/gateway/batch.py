"""Several calls in one: each is authorised, limited and answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec

from interlock.gateway.bodies import object_of
from interlock.gateway.calls import Call, Message
from interlock.gateway.problems import Refused
from interlock.gateway.replies import Reply, Stream, json_reply

__all__ = ["batch"]

R = TypeVar("R")

MOST: Final = 50
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

_encode = msgspec.json.Encoder().encode
_KEPT: Final = frozenset({"authorization"})
_FORBIDDEN: Final = frozenset({"connection", "content-length", "host", "transfer-encoding", "upgrade"})


class _Member(NamedTuple):
    """One call of a batch, checked."""

    place: int
    scope: dict[str, Any]
    body: bytes

    @property
    def reads(self) -> bool:
        return bool(self.scope["method"] == "GET")


async def batch(call: Call) -> Reply:
    """POST batch: `[{"method", "path", "headers", "body"}]`; answers in their order.

    Each write waits for what stands before it, and what stands behind it waits for it; reads that stand together are made together. Members are independent: one that
    fails stops no other. Paths are below the API's own; streams and batches are no members.
    """
    call.no_query()
    members = await call.json()
    if not isinstance(members, list):
        raise Refused({"body": "is not a JSON array of calls"})
    if len(members) > MOST:
        raise Refused({"body": f"has more than {MOST} calls; send several batches"})
    checked = [_Member(place, *_scope(call, member, place)) for place, member in enumerate(members)]
    answers: list[dict[str, Any]] = []
    for reads, group in groupby(checked, key=lambda member: member.reads):
        if reads:
            answers += await _together(_answered(call, member) for member in group)
        else:
            answers += [await _answered(call, member) for member in group]
    return json_reply(answers)


async def _answered(call: Call, member: _Member) -> dict[str, Any]:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": member.body, "more_body": False}

    _, reply = await call.edge.answer(member.scope, receive)
    if isinstance(reply, Stream):
        await _dropped(reply)
        raise Refused({f"{member.place}.path": "is a stream; call it alone"})
    if reply is None:
        raise Refused({f"{member.place}.body": "was not read to its end"})
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
    return {"status": reply.status, "headers": headers, "body": _body(reply)}


async def _together(reads: Iterable[Coroutine[Any, Any, R]]) -> list[R]:
    """The results in their order. When one fails, or the caller goes, none is left running."""
    tasks = [asyncio.ensure_future(read) for read in reads]
    try:
        return await asyncio.gather(*tasks)
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


def _body(reply: Reply) -> Any:
    kind = next((value for name, value in reply.headers if name == b"content-type"), b"")
    if not reply.body:
        return None
    return msgspec.Raw(reply.body) if b"json" in kind else reply.body.decode("utf-8", "replace")


async def _dropped(reply: Stream) -> None:
    aclose = getattr(reply.chunks, "aclose", None)
    if aclose is not None:
        await aclose()


def _scope(call: Call, member: Any, place: int) -> tuple[dict[str, Any], bytes]:
    if not isinstance(member, dict):
        raise Refused({str(place): "is not an object"})
    unknown = member.keys() - {"method", "path", "headers", "body"}
    if unknown:
        raise Refused({f"{place}.{min(unknown)[:50]}": "is not method, path, headers or body"})
    told = object_of(
        {name: value for name, value in member.items() if name != "body"}, {"method": str, "path": str, "headers": dict}
    )
    method = told.get("method", "GET").upper()
    if method not in METHODS:
        raise Refused({f"{place}.method": f"is not one of {', '.join(sorted(METHODS))}"})
    path, query = _path(call, told.get("path", ""), place)
    body = b"" if member.get("body") is None else _encode(member["body"])
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": call.scope.get("scheme", "http"),
        "path": path,
        "root_path": "",
        "query_string": query,
        "headers": _headers(call, told.get("headers", {}), place, bool(body)),
        "client": call.scope.get("client"),
        "server": call.scope.get("server"),
    }
    return scope, body


def _path(call: Call, text: str, place: int) -> tuple[str, bytes]:
    raw, _, query = text.partition("?")
    if not text.isascii() or not text.isprintable() or "#" in text:
        raise Refused({f"{place}.path": "is not a percent-encoded path"})
    try:
        path = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise Refused({f"{place}.path": "is not UTF-8, percent-encoded"}) from error
    path = "/" + path.lstrip("/")
    if not path.startswith(f"{call.edge.prefix}/"):
        path = call.edge.prefix + path
    last = path.rpartition("/")[2]
    if path == f"{call.edge.prefix}/batch" or last in ("changes", "content"):
        raise Refused({f"{place}.path": "is a batch or a stream; call it alone"})
    return path, query.encode()


def _headers(call: Call, given: dict[str, Any], place: int, body: bool) -> list[tuple[bytes, bytes]]:
    headers: dict[str, str] = {}
    for name, value in given.items():
        plain = name.lower()
        if plain in _FORBIDDEN or not name.isascii() or not isinstance(value, str) or not value.isprintable():
            raise Refused({f"{place}.headers.{name[:50]}": "is not a header that a member may have"})
        headers[plain] = value
    for name, value in call.scope["headers"]:
        if name.decode("latin-1") in _KEPT:
            headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    if body:
        headers["content-type"] = "application/json"
    try:
        return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
    except UnicodeEncodeError as error:
        raise Refused({f"{place}.headers": "has a character that no header has"}) from error
