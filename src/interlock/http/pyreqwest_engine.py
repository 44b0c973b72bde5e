"""The engine on pyreqwest (Rust): the default, and the fastest that was measured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pyreqwest import exceptions as native
from pyreqwest.client import ClientBuilder
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response, ResponseBodyReader

from interlock.errors import InterlockError
from interlock.http.engine import Call, Reply, StreamedReply, broken, late, unreachable
from interlock.interpreter import let_threads_rest_at_exit

__all__ = ["PyreqwestEngine"]

_BUFFER = 1024 * 1024
_CONNECTING = "client error (Connect)"


def _mapped(error: Exception, call: Call) -> InterlockError:
    """By what happened: pyreqwest calls every failure before the reply a ConnectError, sent or not, and only the causes tell."""
    details = getattr(error, "details", None) or {}
    if any(cause["message"] == _CONNECTING for cause in details.get("causes") or ()):
        return unreachable(call)
    if isinstance(error, native.RequestTimeoutError):
        return late(call)
    return broken(call, "the connection broke before the answer was complete")


class PyreqwestEngine:
    """One connection pool. `connect_timeout` is in seconds."""

    def __init__(self, connect_timeout: float = 5.0) -> None:
        let_threads_rest_at_exit()
        self._closed = False
        self._client = (
            ClientBuilder()
            .user_agent("interlock")
            .follow_redirects(False)
            .no_proxy()
            .connect_timeout(timedelta(seconds=connect_timeout))
            .build()
        )

    async def send(self, call: Call) -> Reply:
        request = self._built(call, _BUFFER)
        try:
            async with request as response:
                return Reply(response.status, await _whole(response, call), response.get_header)
        except native.PyreqwestError as error:
            raise _mapped(error, call) from error

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[StreamedReply]:
        request = self._built(call, 0)
        try:
            response = await request.__aenter__()
        except native.PyreqwestError as error:
            raise _mapped(error, call) from error
        try:
            yield StreamedReply(response.status, _chunks(response.body_reader, call), response.get_header)
        finally:
            await request.__aexit__(None, None, None)

    async def aclose(self) -> None:
        self._closed = True
        await self._client.close()

    def _built(self, call: Call, buffer: int) -> StreamRequest:
        """The request, whose body is read in steps: only so can it be bounded. Nothing is sent yet.

        pyreqwest holds a reply back until `buffer` bytes of it have come: a stream must have 0.
        """
        if self._closed:
            raise unreachable(call)
        try:
            return self._filled(call).streamed_read_buffer_limit(buffer).build_streamed()
        except ValueError as error:
            raise unreachable(call) from error

    def _filled(self, call: Call) -> RequestBuilder:
        builder = self._client.request(call.method, call.url)
        if call.headers:
            builder = builder.headers(call.headers)
        if call.timeout is not None:
            builder = builder.timeout(timedelta(seconds=call.timeout))
        if isinstance(call.body, bytes):
            return builder.body_bytes(call.body)
        if call.body is not None:
            return builder.body_stream(call.body)
        return builder


async def _whole(response: Response, call: Call) -> bytes:
    """The body. One of a declared length, which a compressed one has not, is read at once; others in bounded steps."""
    length = response.get_header("content-length")
    if length is not None and length.isdecimal() and int(length) <= call.limit:
        return bytes(await response.bytes())
    return await _bounded(response.body_reader, call)


async def _bounded(reader: ResponseBodyReader, call: Call) -> bytes:
    body = b""
    while (part := await reader.read(call.limit + 1 - len(body))) is not None:
        body = bytes(part) if not body else body + bytes(part)
        if len(body) > call.limit:
            raise broken(call, f"the answer is larger than {call.limit} bytes")
    return body


async def _chunks(reader: ResponseBodyReader, call: Call) -> AsyncIterator[bytes]:
    try:
        while (chunk := await reader.read_chunk()) is not None:
            yield bytes(chunk)
    except native.PyreqwestError as error:
        raise _mapped(error, call) from error
