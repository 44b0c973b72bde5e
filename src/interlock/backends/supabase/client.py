"""One call to the project's API: the key, the caller's token, the deadline, error mapping, and one fresh token after a 401."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from interlock.abilities import TokenSource
from interlock.backends.supabase.faults import Concern, error_of
from interlock.contract import Identity
from interlock.errors import DeadlineExceeded, Misconfigured
from interlock.http import Call, Engine, EngineName, Reply

__all__ = ["IN_UTC", "Caller", "SupabaseSettings"]

_encode = msgspec.json.Encoder().encode

IN_UTC: Final = "timezone=UTC"
"""The preference that times come in UTC, whatever zone the database is set to. Whoever sends others adds it to them."""

_NOTHING: Final[Mapping[str, str]] = {}


class SupabaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which project. `timeout` and `connect_timeout` are in seconds, `max_body` in bytes. Its repr hides the keys.

    `realtime` says whether changes are watched through Supabase Realtime, or by looking.
    """

    url: str
    anon_key: str
    service_key: str | None = None
    timeout: float = 30.0
    connect_timeout: float = 5.0
    engine: EngineName = "pyreqwest"
    max_body: int = 64 * 1024 * 1024
    realtime: bool = True

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise Misconfigured(["INTERLOCK_SUPABASE_URL: must begin with http:// or https://"])
        if "@" in self.url.split("/")[2]:
            raise Misconfigured(["INTERLOCK_SUPABASE_URL: has a user or password in it; tokens come from the log-in"])

    def __repr__(self) -> str:
        return f"SupabaseSettings(url={self.url!r}, keys hidden)"


class Caller:
    """Sends calls to /rest/v1 for one identity each."""

    def __init__(self, settings: SupabaseSettings, engine: Engine, tokens: TokenSource) -> None:
        self.settings = settings
        self.rest = f"{settings.url.rstrip('/')}/rest/v1/"
        self._engine = engine
        self._tokens = tokens
        self._common = {"Accept": "application/json", "Prefer": IN_UTC, "apikey": settings.anon_key}

    async def send(
        self,
        method: str,
        path: str,
        concern: Concern,
        identity: Identity,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] = _NOTHING,
        deadline: float | None = None,
        also: tuple[int, ...] = (),
    ) -> Reply:
        """The reply to a call of /rest/v1/<path>, with a status below 300 or one of `also`. Raises the contract's errors for any other."""
        for again in (False, True):
            token = await self._tokens.token(identity, refresh=again)
            sent = {**self._common, **headers, "Authorization": f"Bearer {token}"}
            if body is not None:
                sent["Content-Type"] = "application/json"
            call = Call(
                method,
                self.rest + path,
                sent,
                body,
                self._timeout(deadline),
                concern.operation_id,
                self.settings.max_body,
            )
            reply = await self._engine.send(call)
            if reply.status < 300 or reply.status in also:
                return reply
            if reply.status != 401:
                break
        raise error_of(reply, concern)

    async def function(
        self,
        identity: Identity,
        name: str,
        arguments: Mapping[str, Any],
        *,
        concern: Concern | None = None,
        deadline: float | None = None,
    ) -> bytes:
        """What a function of the database answers, called by POST with named arguments."""
        about = concern or Concern(name)
        reply = await self.send("POST", f"rpc/{name}", about, identity, body=_encode(arguments), deadline=deadline)
        return reply.body

    def _timeout(self, deadline: float | None) -> float:
        if deadline is None:
            return self.settings.timeout
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            raise DeadlineExceeded
        return min(left, self.settings.timeout)
