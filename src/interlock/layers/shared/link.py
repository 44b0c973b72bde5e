"""One connection to a Redis or Valkey: calls are sent at once, one behind the other, and answered in order; the first that goes unanswered ends it.

A client library's pool sends a call again on another connection, and so perhaps to another server, without a word; here a connection is one server, and when it ends
its owner knows. The protocol is hiredis'.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from hiredis import ProtocolError, Reader, pack_command

from interlock.errors import Misconfigured
from interlock.layers.shared.store import OutOfReach

__all__ = ["Address", "Link", "Refused"]

NOTHING: Final = object()
"""What the reader answers while an answer is not there as a whole."""

_SCHEMES: Final = frozenset({"redis", "rediss", "valkey", "valkeys", "unix"})
_REASONS: Final = {
    "READONLY": "it is a read-only replica",
    "OOM": "its memory is full",
    "LOADING": "it is loading its data",
    "NOAUTH": "it asks for a password",
    "WRONGPASS": "it refuses the password",
    "NOPERM": "the user may not do what the cache needs",
    "NOSCRIPT": "its scripts were taken away",
    "BUSY": "it is busy with a script of somebody's",
    "RUN": "another server answers in its place",
    "MISCONF": "it refuses to write",
}


class Refused(Exception):
    """The server answered with an error. `code` is its first word, `reason` what it means, without anything of the server's own text."""

    def __init__(self, text: str) -> None:
        word = text.partition(" ")[0]
        self.code = word if word.isalnum() else "an error"
        self.reason = _REASONS.get(self.code, f"it answered {self.code}")
        super().__init__(self.reason)


class Address(msgspec.Struct, frozen=True):
    """Where a server is, and as whom. Its repr hides the password."""

    host: str = ""
    port: int = 6379
    path: str = ""
    db: int = 0
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""

    def __repr__(self) -> str:
        return f"Address({self.path or f'{self.host}:{self.port}'}, db {self.db})"

    @classmethod
    def parse(cls, url: str) -> Address:
        """From `redis://[user:password@]host[:port][/db]`, `rediss://…` with TLS (`?ca=file` for a CA of one's own) or `unix:///socket?db=0`. Raises `Misconfigured`."""
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            unknown = sorted(set(options) - {"db", "ca"})
            if (
                parts.scheme not in _SCHEMES
                or unknown
                or not (parts.path if parts.scheme == "unix" else parts.hostname)
            ):
                raise ValueError("not the URL of a server")
            unix = parts.scheme == "unix"
            return cls(
                host=parts.hostname or "",
                port=parts.port or 6379,
                path=unquote(parts.path) if unix else "",
                db=int(options.get("db") or ("" if unix else parts.path.strip("/")) or 0),
                user=unquote(parts.username or ""),
                password=unquote(parts.password or ""),
                tls=parts.scheme in ("rediss", "valkeys"),
                ca=options.get("ca", ""),
            )
        except ValueError:
            # What urlsplit says may quote the password.
            raise Misconfigured(
                [
                    "INTERLOCK_REDIS_URL is not redis://[user:password@]host[:port][/db], rediss://… or unix:///path/of/socket"
                ]
            ) from None


class Link(asyncio.Protocol):
    """A connection. `call` may be used by many at a time."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._transport: asyncio.Transport | None = None
        self._reader = Reader(notEnoughData=NOTHING, replyError=Refused)
        self._waiting: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self.broken = ""

    @classmethod
    async def open(cls, address: Address, patience: float, connect: float) -> Link:
        """Connect and log in within `connect` seconds; each call is to be answered within `patience`. Raises `OutOfReach`."""
        link = cls(connect)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(connect):
                if address.path:
                    await loop.create_unix_connection(lambda: link, address.path)
                else:
                    context = ssl.create_default_context(cafile=address.ca or None) if address.tls else None
                    await loop.create_connection(lambda: link, address.host, address.port, ssl=context)
                if address.password:
                    user = (address.user,) if address.user else ()
                    await link.call("AUTH", *user, address.password)
                if address.db:
                    await link.call("SELECT", str(address.db))
        except TimeoutError as error:
            link.fail("no answer in time")
            raise OutOfReach("no answer in time") from error
        except Refused as error:
            link.fail(error.reason)
            # The server's error may hold what was sent; it goes no further.
            raise OutOfReach(error.reason) from None
        except OSError as error:
            link.fail("no connection")
            raise OutOfReach("no connection") from error
        except BaseException:
            link.fail("given up")
            raise
        link.patience = patience
        return link

    def call(self, *parts: str | bytes) -> asyncio.Future[Any]:
        """Send a command. Its answer, or `Refused` or `OutOfReach`."""
        place: asyncio.Future[Any] = self._loop.create_future()
        if self.broken or self._transport is None:
            place.set_exception(OutOfReach(self.broken or "not connected"))
            return place
        self._waiting.append((place, self._loop.time() + self.patience))
        if self._watch is None:
            self._watch = self._loop.call_later(self.patience, self._look, False)
        self._transport.write(pack_command(parts))  # type: ignore[arg-type]  # its stub knows tuples of one part alone
        return place

    def fail(self, reason: str) -> None:
        """The end: nobody who waits will be answered."""
        if self.broken:
            return
        self.broken = reason
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            # Not `close`, which would first send what is still unsent.
            self._transport.abort()
        while self._waiting:
            place, _ = self._waiting.popleft()
            if not place.done():
                place.set_exception(OutOfReach(reason))

    def _look(self, again: bool) -> None:
        """Is the first that waits overdue?"""
        self._watch = None
        if not self._waiting:
            return
        due = self._waiting[0][1]
        now = self._loop.time()
        if now < due:
            self._watch = self._loop.call_at(due, self._look, False)
        elif not again and now - due > self.patience / 4:
            # It was this process that was late: the answer may lie there unread.
            self._watch = self._loop.call_later(self.patience / 4, self._look, True)
        else:
            self.fail("no answer in time")

    # -- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream's
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """The other side has gone."""
        self.fail("the connection broke")

    def data_received(self, data: bytes) -> None:
        """Answer those who wait, in order."""
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not NOTHING:
                future, _ = self._waiting.popleft()
                if future.done():
                    continue
                if isinstance(answer, Refused):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        except (ProtocolError, IndexError):
            self.fail("it does not speak the protocol")
