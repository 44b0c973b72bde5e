"""Changes from an Interlock gateway, by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal

import msgspec

from interlock.backends.rest.caller import Caller
from interlock.backends.rest.codec import Codec
from interlock.backends.rest.faults import Concern
from interlock.backends.rest.native import decoded
from interlock.contract import Change, Identity
from interlock.errors import DeadlineExceeded, Unavailable
from interlock.http import Reply, StreamedReply

__all__ = ["Event", "events_of", "watched"]

_SILENCE = 90.0
_NOWHERE = "nowhere"
"""A position that no gateway gave: it begins with a `resync`, once nothing can be missed any more."""
_ATTEMPTS = 5
_LASTING = 5.0
_LONGEST_EVENT = 4 * 1024 * 1024


class Event(msgspec.Struct, frozen=True):
    """One server-sent event."""

    id: str
    kind: str
    data: str


class _Told(msgspec.Struct, rename="camel"):
    kind: Literal["created", "updated", "deleted", "restored", "resync"]
    resource: str
    record_id: str = ""
    version: int = 0
    row: msgspec.Raw = msgspec.Raw(b"null")
    position: str = ""


_told = msgspec.json.Decoder(_Told)


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncGenerator[Event, None]:
    """The events of a stream, as the HTML standard parses it; an event that never ends is `Unavailable`."""
    left = b""
    last, kind = "", "message"
    data: list[str] = []
    async for chunk in chunks:
        left += chunk
        if len(left) > _LONGEST_EVENT or sum(len(text) for text in data) > _LONGEST_EVENT:
            raise Unavailable("an event of the stream is too long")
        # A CR at the end may be the first half of a CR LF.
        held = left[-1:] if left.endswith(b"\r") else b""
        lines = left[: len(left) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        left = lines.pop() + held
        for line in lines:
            if not line:
                if data:
                    yield Event(last, kind, "\n".join(data))
                kind, data = "message", []
                continue
            name, _, value = line.decode(errors="replace").partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                last = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)


async def watched(
    caller: Caller, codec: Codec, api: str, identity: Identity, after: str | None
) -> AsyncGenerator[Change, None]:
    """The changes of one resource. A stream that ends or breaks is resumed after the last change; five short ones in a row
    are `Unavailable`. Where nothing tells how far the last one came, the gateway is asked for a `resync`."""
    resource = codec.entity.resource
    concern = Concern(api, resource, codec)
    url = caller.url(f"{caller.segment(resource)}/changes")
    clock = asyncio.get_running_loop().time
    failures, connected = 0, False
    while True:
        began = clock()
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = after
        try:
            async with (
                caller.stream("GET", url, concern, identity, headers=headers) as reply,
                aclosing(events_of(_awake(reply, api))) as events,
            ):
                connected, after = True, after or _NOWHERE
                async for event in events:
                    change = _change(event, codec, concern, reply)
                    failures, after = 0, change.position or _NOWHERE
                    yield change
            lost = Unavailable(f"{api} keeps closing the stream of changes")
        except (Unavailable, DeadlineExceeded) as error:
            if not connected:
                raise
            lost = Unavailable(error.message)
        failures = 0 if clock() - began > _LASTING else failures + 1
        if failures >= _ATTEMPTS:
            raise lost
        await asyncio.sleep(0.05 * 2**failures)


async def _awake(reply: StreamedReply, api: str) -> AsyncIterator[bytes]:
    """The chunks, as long as some come: a gateway sends a comment every few seconds."""
    chunks = aiter(reply.chunks)
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise Unavailable(f"{api} fell silent") from error
        yield chunk


def _change(event: Event, codec: Codec, concern: Concern, reply: StreamedReply) -> Change:
    whole = Reply(reply.status, event.data.encode(), reply.header)
    told = decoded(_told.decode, whole, concern)
    row = None
    if bytes(told.row) != b"null":
        raw = bytes(told.row)
        row = decoded(lambda _: codec.row(raw), whole, concern)
    return Change(
        kind=told.kind,
        resource=told.resource,
        record_id=told.record_id,
        version=told.version,
        row=row,
        position=told.position or event.id,
    )
