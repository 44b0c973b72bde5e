"""Supabase Realtime, as what it is good for: it tells that something was written. What, the log of changes tells.

One connection for each identity, with one channel for each resource that is watched under it. The official client carries it; its
reconnecting gives up after five attempts and does not renew tokens, so both are done here.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from contextlib import suppress
from typing import Any, Final

import msgspec
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimePostgresChangesListenEvent

from interlock.abilities import TokenSource
from interlock.backends.supabase.positions import Snapshot
from interlock.contract import Identity
from interlock.errors import InterlockError
from interlock.log import get_logger

__all__ = ["Bell", "Line", "jitter"]

_PATIENCE: Final = 10.0
_LONGEST_PAUSE: Final = 30.0
_REMEMBERED: Final = 1000

_log = get_logger("interlock")


def jitter(failures: int, *, base: float = 0.1, cap: float = _LONGEST_PAUSE) -> float:
    """Seconds to wait after so many failures in a row: anything up to a bound that doubles."""
    return random.uniform(0, min(cap, base * 2 ** min(failures, 16)))  # noqa: S311 - spreads callers, guards nothing


class Bell:
    """What one watcher listens to. `announced` are the transactions that it was told of and has not read yet."""

    def __init__(self) -> None:
        self.announced: set[int] = set()
        self.live = False
        self._rung = asyncio.Event()

    def ring(self, xid: int | None = None) -> None:
        """Something was written, or may have been."""
        if xid is not None and len(self.announced) < _REMEMBERED:
            self.announced.add(xid)
        self._rung.set()

    def still(self) -> None:
        """What rang until now is about to be read."""
        self._rung.clear()

    def ahead_of(self, read: Snapshot, *, patient: bool) -> bool:
        """True where it was told of a transaction that the read did not see yet. Without patience it is forgotten."""
        self.announced = {xid for xid in self.announced if patient and not read.sees(xid)}
        return bool(self.announced)

    async def wait(self, timeout: float) -> bool:
        """False where nothing rang for so long."""
        try:
            async with asyncio.timeout(timeout):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True


class _Lost(Exception):
    """The connection is gone, or was never made. Stays within this file."""


class Line:
    """One identity's connection. It is held while it has bells, and made again whenever it breaks."""

    def __init__(self, url: str, key: str, identity: Identity, tokens: TokenSource) -> None:
        self._url = f"{url.rstrip('/')}/realtime/v1"
        self._key = key
        self._identity = identity
        self._tokens = tokens
        self._bells: dict[str, set[Bell]] = {}
        self._live: set[str] = set()
        self._stirred = asyncio.Event()
        self._trouble = ""
        self._refused = False
        self._task: asyncio.Task[None] | None = None

    @property
    def used(self) -> bool:
        """True while somebody listens."""
        return bool(self._bells)

    def add(self, resource: str, bell: Bell) -> None:
        """Ring the bell for the resource from now on."""
        self._bells.setdefault(resource, set()).add(bell)
        bell.live = resource in self._live
        self._stirred.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    def remove(self, resource: str, bell: Bell) -> None:
        """No more."""
        bells = self._bells.get(resource, set())
        bells.discard(bell)
        if not bells:
            self._bells.pop(resource, None)
        self._stirred.set()

    def suspect(self) -> None:
        """Something was written and nothing was told: make the connection again."""
        self._broken("it told nothing of a change")

    async def aclose(self) -> None:
        """Hang up."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures, told = 0, False
        while True:
            self._trouble = ""
            # The client's own reconnecting is off: it ends for good after five attempts.
            client = AsyncRealtimeClient(self._url, token=self._key, auto_reconnect=False, max_retries=1)
            try:
                await self._serve(client)
            except (_Lost, InterlockError) as error:
                self._trouble = str(error)
            except Exception as error:  # noqa: BLE001 - the official client raises what its parts do, and bare exceptions
                self._trouble = type(error).__name__
            finally:
                await _hang_up(client)
            was_live = bool(self._live)
            self._set_live(())
            failures = 1 if was_live else failures + 1
            if was_live or not told:
                told = True
                _log.warning("realtime is away; changes are polled for", reason=self._trouble[:200])
            await asyncio.sleep(jitter(failures))

    async def _serve(self, client: AsyncRealtimeClient) -> None:
        """Until it breaks."""
        token = await self._tokens.token(self._identity, refresh=self._refused)
        self._refused = False
        async with asyncio.timeout(_PATIENCE):
            await client.connect()
            await client.set_auth(token)
        joined: dict[str, AsyncRealtimeChannel] = {}
        while True:
            self._stirred.clear()
            for resource in joined.keys() - self._bells.keys():
                self._live.discard(resource)
                await joined.pop(resource).unsubscribe()
            for resource in self._bells.keys() - joined.keys():
                joined[resource] = await self._join(client, resource)
            if self._trouble:
                raise _Lost(self._trouble)
            pause = _good_for(token)
            try:
                async with asyncio.timeout(pause):
                    await self._stirred.wait()
            except TimeoutError:
                token = await self._another(token)
                await client.set_auth(token)

    async def _another(self, token: str) -> str:
        fresh = await self._tokens.token(self._identity)
        return fresh if fresh != token else await self._tokens.token(self._identity, refresh=True)

    async def _join(self, client: AsyncRealtimeClient, resource: str) -> AsyncRealtimeChannel:
        def changed(payload: Any) -> None:
            xid = str((payload["data"].get("record") or {}).get("xid"))
            self._ring(resource, int(xid) if xid.isdecimal() else None)

        def subscribed(payload: Any) -> None:
            if payload.extension == "postgres_changes":
                self._set_live((*self._live, resource))
                _log.info("realtime tells of changes", resource=resource)

        def state(status: Any, error: Exception | None) -> None:
            if str(getattr(status, "value", status)) != "SUBSCRIBED":
                self._refused = self._refused or "oken" in str(error)
                self._broken(f"{getattr(status, 'value', status)} {error or ''}".strip())

        channel = client.channel(f"interlock-{resource}")
        channel.on_postgres_changes(
            RealtimePostgresChangesListenEvent.Insert,
            changed,
            table="changes",
            schema="public",
            filter=f"resource=eq.{resource}",
        )
        channel.on_system(subscribed)
        async with asyncio.timeout(_PATIENCE * 2):
            await channel.subscribe(state)
        return channel

    def _broken(self, why: str) -> None:
        self._trouble = self._trouble or why
        self._stirred.set()

    def _ring(self, resource: str, xid: int | None = None) -> None:
        for bell in self._bells.get(resource, ()):
            bell.ring(xid)

    def _set_live(self, resources: Any) -> None:
        """Whoever becomes live, or ceases to be, reads at once: something may have been written in between."""
        before, self._live = self._live, set(resources)
        for resource, bells in self._bells.items():
            for bell in bells:
                bell.live = resource in self._live
            if (resource in before) is not (resource in self._live):
                self._ring(resource)


async def _hang_up(client: AsyncRealtimeClient) -> None:
    """Close, and end what the client leaves running: the timers of its pushes outlast its close."""
    for channel in client.get_channels():
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
        for push in tuple(channel.messages_waiting_for_ack.values()):
            push.destroy()
    with suppress(Exception):
        await client.close()


def _good_for(token: str) -> float | None:
    """Seconds after which the token is renewed: before it expires, by a fifth of its life or a minute."""
    try:
        body = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        left = float(claims["exp"]) - time.time()
    except (IndexError, KeyError, ValueError, TypeError, msgspec.DecodeError):
        return None
    return max(left - min(60.0, left / 5), 1.0)
