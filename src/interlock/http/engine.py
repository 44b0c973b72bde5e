"""What an HTTP engine is: one call in, one reply out, whole or streamed.

The engines map their native errors to these, each in one function:

- no connection: `Unavailable`; nothing was sent;
- no time left: `DeadlineExceeded` for a read, `OutcomeUnknown` for a write that may have been sent;
- a connection that broke, a truncated or an undecodable body: `Unavailable` for a read, `OutcomeUnknown` for a write;
- a body larger than the call's `limit`: the same.

A status is no error here, and a redirect is not followed: it would carry the token elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from interlock.errors import DeadlineExceeded, InterlockError, OutcomeUnknown, Unavailable

__all__ = [
    "MAX_BODY",
    "Body",
    "Call",
    "Engine",
    "EngineName",
    "Reply",
    "StreamedReply",
    "broken",
    "late",
    "unreachable",
]

EngineName = Literal["pyreqwest", "aiohttp"]
Body = bytes | AsyncIterator[bytes] | None

MAX_BODY = 64 * 1024 * 1024


class Call(msgspec.Struct, frozen=True):
    """One HTTP call. `timeout` is in seconds, from the connect to the last byte; None waits for ever.

    `operation_id` is None for a read and the id for a write: it decides what a broken connection means. `limit` is the largest
    body accepted, in bytes after decompression; streamed replies have none.
    """

    method: str
    url: str
    headers: dict[str, str] = {}
    body: Body = None
    timeout: float | None = 30.0
    operation_id: str | None = None
    limit: int = MAX_BODY

    def __repr__(self) -> str:
        return f"Call({self.method} {self.url.partition('?')[0]}, headers and body hidden)"


class Reply(msgspec.Struct, frozen=True):
    """A whole reply. `header(name)` ignores the case of the name."""

    status: int
    body: bytes
    header: Callable[[str], str | None]


class StreamedReply(msgspec.Struct, frozen=True):
    """A reply whose body is still to come, in chunks of any size."""

    status: int
    chunks: AsyncIterator[bytes]
    header: Callable[[str], str | None]


class Engine(Protocol):
    """Carries calls. Raises `Unavailable`, `DeadlineExceeded` and `OutcomeUnknown` only."""

    async def send(self, call: Call) -> Reply:
        """The reply, wholly read."""
        ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamedReply]:
        """The reply as it comes; leaving the context lets the connection go."""
        ...

    async def aclose(self) -> None:
        """Close every connection. Closing twice does nothing more."""
        ...


def _place(call: Call) -> str:
    return "/".join(call.url.split("/", 3)[:3])


def unreachable(call: Call) -> InterlockError:
    """Nothing was sent."""
    return Unavailable(f"{_place(call)} cannot be reached")


def late(call: Call) -> InterlockError:
    """The time was up after the connect."""
    if call.operation_id is not None:
        return OutcomeUnknown(call.operation_id, "the write was sent and no answer came in time")
    return DeadlineExceeded(f"{_place(call)} did not answer in time")


def broken(call: Call, what: str) -> InterlockError:
    """The answer did not come whole."""
    if call.operation_id is not None:
        return OutcomeUnknown(call.operation_id, f"the write was sent and {what}")
    return Unavailable(f"{_place(call)}: {what}")
