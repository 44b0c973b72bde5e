"""One call to the API: token, deadline, error mapping, and one fresh token after a 401."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote, urlencode

import msgspec

from interlock.abilities import TokenSource
from interlock.backends.rest.dialects import INTERLOCK, Dialect
from interlock.backends.rest.faults import Concern, error_of
from interlock.backends.rest.filtering import Params
from interlock.contract import Identity
from interlock.errors import DeadlineExceeded, Misconfigured
from interlock.http import Call, Engine, EngineName, Reply, StreamedReply
from interlock.http.engine import Body
from interlock.tokens import VOUCHER_HEADER

__all__ = ["Caller", "RestSettings"]


class RestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the API is and how it speaks. `timeout` and `connect_timeout` are in seconds, `max_body` in bytes."""

    base_url: str
    dialect: Dialect = INTERLOCK
    timeout: float = 30.0
    connect_timeout: float = 5.0
    engine: EngineName = "pyreqwest"
    max_body: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise Misconfigured(["INTERLOCK_API_BASE_URL: must begin with http:// or https://"])
        if "@" in self.base_url.split("/")[2]:
            raise Misconfigured(["INTERLOCK_API_BASE_URL: has a user or password in it; tokens come from the log-in"])


class Caller:
    """Sends calls to one API for one identity each."""

    def __init__(
        self,
        settings: RestSettings,
        engine: Engine,
        tokens: TokenSource | None,
        voucher: Callable[[], str] | None = None,
    ) -> None:
        self.settings = settings
        self._base = settings.base_url.rstrip("/")
        self._engine = engine
        self._tokens = tokens
        self._voucher = voucher if settings.dialect.own else None

    def url(self, path: str, params: Params = []) -> str:  # noqa: B006 - never changed
        """The whole URL; `path` is quoted already, see `segment`."""
        return f"{self._base}/{path}?{urlencode(params)}" if params else f"{self._base}/{path}"

    def vouched(self) -> dict[str, str]:
        """The headers which say that services have checked what is written; none to an API that is no gateway of this package."""
        return {} if self._voucher is None else {VOUCHER_HEADER: self._voucher()}

    @staticmethod
    def segment(text: str) -> str:
        """One part of a path; nothing in it can lead elsewhere."""
        quoted = quote(text, safe="")
        return quoted.replace(".", "%2E") if text in {".", ".."} else quoted

    def _timeout(self, deadline: float | None) -> float:
        if deadline is None:
            return self.settings.timeout
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise DeadlineExceeded
        return min(left, self.settings.timeout)

    async def send(
        self,
        method: str,
        url: str,
        concern: Concern,
        *,
        identity: Identity | None = None,
        token: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """A reply with a status below 300. Raises the contract's errors for anything else."""
        for again in (False, True):
            call = Call(
                method,
                url,
                await self._headers(headers, identity, token, body, refresh=again),
                body,
                self._timeout(deadline),
                concern.operation_id,
                self.settings.max_body,
            )
            reply = await self._engine.send(call)
            if reply.status < 300:
                return reply
            if reply.status != 401 or identity is None or self._tokens is None:
                break
        raise error_of(reply, self.settings.dialect.faults, concern)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        concern: Concern,
        identity: Identity,
        *,
        body: Body = None,
        headers: dict[str, str] | None = None,
        also: int = 200,
    ) -> AsyncIterator[StreamedReply]:
        """A reply with a status below 300, or the one of `also`, as it comes, without a limit of time."""
        for again in (False, True):
            sent = await self._headers(headers, identity, None, body, refresh=again)
            call = Call(method, url, sent, body, None, concern.operation_id, self.settings.max_body)
            async with self._engine.stream(call) as reply:
                if reply.status < 300 or reply.status == also:
                    yield reply
                    return
                refused = reply.status == 401 and self._tokens is not None and not again
                # A body that was streamed out cannot be sent again.
                if not refused or not isinstance(body, bytes | None):
                    whole = Reply(reply.status, await _head(reply.chunks), reply.header)
                    raise error_of(whole, self.settings.dialect.faults, concern)

    async def _headers(
        self, extra: dict[str, str] | None, identity: Identity | None, token: str | None, body: Body, *, refresh: bool
    ) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if identity is not None and self._tokens is not None:
            token = await self._tokens.token(identity, refresh=refresh)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if isinstance(body, bytes):
            headers["Content-Type"] = "application/json"
        if extra:
            headers.update(extra)
        return headers


async def _head(chunks: AsyncIterator[bytes], limit: int = 65_536) -> bytes:
    """The beginning of a body: enough for an error."""
    taken = b""
    async for chunk in chunks:
        taken += chunk
        if len(taken) >= limit:
            break
    return taken
