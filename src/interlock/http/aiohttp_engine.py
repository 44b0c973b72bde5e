"""The engine on aiohttp: the second source, chosen by INTERLOCK_HTTP_ENGINE=aiohttp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from yarl import URL

from interlock.errors import InterlockError
from interlock.http.engine import Call, Reply, StreamedReply, broken, late, unreachable

__all__ = ["AiohttpEngine"]

_NATIVE = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


def _mapped(error: Exception, call: Call) -> InterlockError:
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)):
        return unreachable(call)
    if isinstance(error, TimeoutError):
        return late(call)
    return broken(call, "the connection broke before the answer was complete")


class AiohttpEngine:
    """One connection pool, opened at the first call. `connect_timeout` is in seconds."""

    def __init__(self, connect_timeout: float = 5.0) -> None:
        self._connect_timeout = connect_timeout
        self._closed = False
        self._session: aiohttp.ClientSession | None = None

    async def send(self, call: Call) -> Reply:
        try:
            async with self._request(call) as response:
                body = await _bounded(response, call)
                return Reply(response.status, body, response.headers.get)
        except _NATIVE as error:
            raise _mapped(error, call) from error

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[StreamedReply]:
        try:
            response = await self._request(call)
        except _NATIVE as error:
            raise _mapped(error, call) from error
        try:
            yield StreamedReply(response.status, _chunks(response, call), response.headers.get)
        finally:
            response.close()

    async def aclose(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _request(self, call: Call) -> Any:
        if self._closed:
            raise unreachable(call)
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector, headers={"User-Agent": "interlock"}, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session.request(
            call.method,
            URL(call.url, encoded=True),
            headers=call.headers,
            data=call.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=call.timeout, sock_connect=self._connect_timeout),
        )


async def _bounded(response: aiohttp.ClientResponse, call: Call) -> bytes:
    if (response.content_length or 0) > call.limit:
        raise broken(call, f"the answer is larger than {call.limit} bytes")
    parts = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > call.limit:
            raise broken(call, f"the answer is larger than {call.limit} bytes")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _chunks(response: aiohttp.ClientResponse, call: Call) -> AsyncIterator[bytes]:
    try:
        async for part in response.content.iter_any():
            yield part
    except _NATIVE as error:
        raise _mapped(error, call) from error
