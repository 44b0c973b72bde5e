"""An HTTP server that misbehaves as told, on raw sockets, so that nothing corrects its answers.

::

    async with HostileServer() as server:
        server.behave(status(429, headers={"Retry-After": "7"}))
        ... call the backend at server.url ...
        assert server.requests[-1].method == "GET"
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec

__all__ = [
    "Behaviour",
    "HostileServer",
    "Seen",
    "dead_address",
    "drop",
    "drop_after_request",
    "hang",
    "raw",
    "stall_body",
    "status",
    "truncated",
]

_REASONS = MappingProxyType(
    {200: "OK", 201: "Created", 204: "No Content", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
)
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Seen(msgspec.Struct, frozen=True):
    """One request as it arrived. Header names are lower-case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]
"""Answers (or does not answer) one request. The connection is closed after it."""


class HostileServer:
    """Answers every request as the last `behave` says, and remembers what came."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []
        self.url = ""
        self._behaviour: Behaviour = status(200)
        self._scripted: list[Behaviour] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    def behave(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one behaviour each; the last one stays."""
        *self._scripted, self._behaviour = behaviours

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            seen = await _read_request(reader)
            if seen is not None:
                self.requests.append(seen)
                behaviour = self._scripted.pop(0) if self._scripted else self._behaviour
                await behaviour(seen, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "chunked" in headers.get("transfer-encoding", ""):
        return Seen(method, path, headers, await _read_chunks(reader))
    return Seen(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


def _head(code: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {code} {_REASONS.get(code, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def status(
    code: int, body: bytes = b"", headers: Mapping[str, str] = _NO_HEADERS, content_type: str = "application/json"
) -> Behaviour:
    """A whole and correct HTTP answer."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        length = {"Content-Length": str(len(body)), "Content-Type": content_type}
        await _send(writer, _head(code, {**length, **headers}) + (b"" if seen.method == "HEAD" else body))

    return behave


def truncated(body: bytes, *, keep: int, code: int = 200, content_type: str = "application/json") -> Behaviour:
    """Announces the whole body, sends its first `keep` bytes, and hangs up."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        headers = {"Content-Length": str(len(body)), "Content-Type": content_type}
        await _send(writer, _head(code, headers) + body[:keep])

    return behave


def stall_body(body: bytes, *, keep: int, code: int = 200, content_type: str = "application/json") -> Behaviour:
    """Announces the whole body, sends its first `keep` bytes, and then nothing more until the client hangs up."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        headers = {"Content-Length": str(len(body)), "Content-Type": content_type}
        await _send(writer, _head(code, headers) + body[:keep])
        await asyncio.Event().wait()

    return behave


def raw(data: bytes) -> Behaviour:
    """These bytes, and hangs up."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await _send(writer, data)

    return behave


def hang() -> Behaviour:
    """Reads the request and never answers."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return behave


def drop() -> Behaviour:
    """Reads the request and hangs up in good order."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        return None

    return behave


def drop_after_request() -> Behaviour:
    """Reads the request and resets the connection."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        found = writer.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    return behave


def dead_address() -> str:
    """A URL where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"
