"""Changes as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from interlock.contract import Change
from interlock.errors import InterlockError
from interlock.gateway.calls import Call, header_of
from interlock.gateway.problems import Refused
from interlock.gateway.replies import Headers, Stream

__all__ = ["changes"]

HEARTBEAT: Final = 15.0
"""Seconds of silence after which a comment is sent, so that whoever listens knows that somebody is there."""

LONGEST_POSITION: Final = 4000
"""Characters of a `Last-Event-ID`: a position may name the transactions that were open."""

_encode = msgspec.json.Encoder().encode
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


async def changes(call: Call) -> Stream:
    """GET changes: accepted writes of the caller's tenant; resumes behind `Last-Event-ID`. Ends when the token does."""
    call.no_query()
    after = call.header(b"last-event-id")
    if after is not None and (len(after) > LONGEST_POSITION or not after.isprintable()):
        raise Refused({"Last-Event-ID": "is not an id that this stream gave; leave it out"})
    stream = call.service.changes(after or None)
    # The first step is begun here: what cannot be watched is a proper error, not a stream that breaks.
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    if first.done() and first.exception() is not None and not isinstance(first.exception(), StopAsyncIteration):
        first.result()
    headers: Headers = list(_HEADERS)
    return Stream(200, headers, _events(call, stream, first))


async def _events(call: Call, stream: Any, first: asyncio.Future[Change]) -> AsyncIterator[bytes]:
    step = first
    stopping = asyncio.ensure_future(call.edge.stopping.wait())
    try:
        yield b"retry: 1000\n\n"
        while True:
            await asyncio.wait((step, stopping), timeout=HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            if not step.done():
                if not _still_good(call):
                    return
                yield b": here\n\n"
                continue
            try:
                change = step.result()
            except (StopAsyncIteration, InterlockError):
                return
            yield _event(change)
            step = asyncio.ensure_future(anext(stream))
    finally:
        stopping.cancel()
        step.cancel()
        await asyncio.wait((step,))
        await stream.aclose()


def _event(change: Change) -> bytes:
    position = f"id: {change.position}\n" if change.position else ""
    return f"{position}event: {change.kind}\ndata: ".encode() + _encode(change) + b"\n\n"


def _still_good(call: Call) -> bool:
    token = (header_of(call.scope, b"authorization") or b"").partition(b" ")[2]
    try:
        call.edge.app.verifier.verify(token.strip().decode())
    except InterlockError:
        return False
    return True
