"""Watching: what others write ends kept answers too, as soon as the backend tells of it.

The layer stands right below a cache, so that whatever the cache keeps has come through it. Of each scope (a tenant's records of one resource) that something was
read of, it follows the backend's changes, and tells the layers that keep answers. It promises nothing that the backend does not: until a stream
is known to be there, and where there is none, the time to live of a kept answer is what bounds its age.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import Context
from typing import Final

import msgspec

from interlock.abilities import Closes, Subscribes
from interlock.contract import Backend, Change, Identity, Request, Response
from interlock.errors import InterlockError, Unsupported
from interlock.layers.deadline import READS
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Keyed, Scope, Varies, scope_of
from interlock.log import get_logger

__all__ = ["WatchSettings", "Watcher", "system_of"]

_START: Final = "start"
"""A position that no backend gave: its answer is a `resync`, from which on nothing is missed."""

_PATIENCE: Final = 2.0
"""Seconds that a stream has to end, until it is cancelled once more."""

_log = get_logger("interlock")


class WatchSettings(msgspec.Struct, frozen=True):
    """`idle`: seconds after the last read through here at whose end the cache holds nothing of a scope any more: its time to live.

    `scopes` is how many are followed at once; a further one takes the place of the one that was read longest ago, if that was at least `rest` seconds ago.
    `base` and `cap` bound the seconds between two attempts; after a stream that held for `lasting` seconds they begin anew. `remembered` is
    how many own writes are known by their versions.
    """

    idle: float = 300.0
    scopes: int = 64
    rest: float = 10.0
    base: float = 0.2
    cap: float = 30.0
    lasting: float = 5.0
    remembered: int = 10_000


def system_of(tenant_id: str) -> Identity:
    """Who watches a tenant: Interlock itself, who sees all of its records."""
    return Identity("system", tenant_id, "system")


class Watcher:
    """Follows the changes of what is read through it, and tells of those that others made.

    A stream that begins, and one that broke, costs the scope all that is kept of it: something may have been missed. The echo of a write
    through here costs nothing more: it was told of when it was acknowledged.
    """

    def __init__(
        self,
        inner: Backend,
        source: Subscribes,
        told: Invalidation,
        settings: WatchSettings,
        *,
        whose: Callable[[str], Identity] = system_of,
        draw: random.Random | None = None,
    ) -> None:
        self._inner = inner.handle
        keyed = inner if isinstance(inner, Keyed) else None
        self._inner_keyed = None if keyed is None else keyed.handle_keyed
        self.varies: Varies | None = None if keyed is None else keyed.varies
        self._source = source
        self._told = told
        self._settings = settings
        self._whose = whose
        self._draw = draw or random.Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._followed: OrderedDict[Scope, _Followed] = OrderedDict()
        self._ending: set[asyncio.Task[None]] = set()
        self._unwatchable: set[str] = set()
        self._own: OrderedDict[tuple[Scope, str], int] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.heard = 0
        self.echoes = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        answer = await self._inner(request)
        scope = scope_of(request)
        if request.verb in READS:
            self._follow(scope)
        elif scope in self._followed and request.verb != "put":
            # A `put` may set a version back: its echo is told of like anybody's.
            self._note(scope, answer)
        return answer

    async def handle_keyed(self, request: Request, scope: Scope, key: Hashable) -> Response:
        """The same for a read whose scope and key are known already, where the inner layer takes them."""
        if self._inner_keyed is None:
            return await self.handle(request)
        answer = await self._inner_keyed(request, scope, key)
        self._follow(scope)
        return answer

    @property
    def following(self) -> int:
        """Scopes that are followed, or that are tried to."""
        return len(self._followed)

    @property
    def live(self) -> int:
        """Scopes of which nothing is missed now."""
        return sum(followed.live.is_set() for followed in self._followed.values())

    async def established(self, tenant_id: str, resource: str) -> None:
        """Follow the tenant's resource; returns once nothing is missed any more. Raises `Unsupported` where it will not be followed."""
        scope = (tenant_id, resource)
        followed = self._follow(scope)
        if followed is not None:
            await followed.live.wait()
        if followed is None or self._followed.get(scope) is not followed:
            raise Unsupported("the cache", f"{resource} is not watched, or too many others are")

    async def aclose(self) -> None:
        """Follow nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for scope in tuple(self._followed):
            self._end(scope)
        while self._ending:
            _, lasting = await asyncio.wait(set(self._ending), timeout=_PATIENCE)
            for task in lasting:
                task.cancel()

    # -- own writes -----------------------------------------------------------------------------------------------

    def _note(self, scope: Scope, answer: Response) -> None:
        own = self._own
        for outcome in answer.outcomes:
            if outcome.row is not None:
                key = (scope, outcome.id)
                own[key] = max(own.get(key, 0), outcome.row.version)
                own.move_to_end(key)
        while len(own) > self._settings.remembered:
            own.popitem(last=False)

    # -- which scopes ---------------------------------------------------------------------------------------------

    def _follow(self, scope: Scope) -> _Followed | None:
        """Something of it is being kept."""
        loop = self._loop
        if loop is None or not loop.is_running():
            # Which loop runs is asked once: it costs more than all the rest.
            loop = self._loop = asyncio.get_running_loop()
        now = loop.time()
        followed = self._followed.get(scope)
        if followed is not None:
            followed.read = now
            self._followed.move_to_end(scope)
            return followed
        if self._closed or scope[1] in self._unwatchable or not self._room(now):
            return None
        # In a context of its own: it outlasts the call that began it.
        followed = self._followed[scope] = _Followed(now)
        followed.task = loop.create_task(self._keep_following(scope, followed), context=Context())
        if self._timer is None:
            self._timer = loop.call_later(self._settings.idle / 4, self._look_through, context=Context())
        return followed

    def _room(self, now: float) -> bool:
        if len(self._followed) < self._settings.scopes:
            return True
        oldest = next(iter(self._followed))
        if now - self._followed[oldest].read < self._settings.rest:
            return False  # otherwise readers of ever other scopes would keep everybody's streams from lasting
        self._end(oldest)
        return True

    def _look_through(self) -> None:
        """End what nothing is kept of any more, and come back while there is something."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for scope in [scope for scope, one in self._followed.items() if now - one.read >= self._settings.idle]:
            self._end(scope)
        self._timer = loop.call_later(self._settings.idle / 4, self._look_through) if self._followed else None

    def _end(self, scope: Scope) -> None:
        followed = self._followed.pop(scope)
        followed.live.set()  # whoever waits for it finds it gone
        task = followed.task
        if task is not None and task is not asyncio.current_task():
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            task.cancel()

    # -- following ------------------------------------------------------------------------------------------------

    async def _keep_following(self, scope: Scope, followed: _Followed) -> None:
        settings, time, live = self._settings, asyncio.get_running_loop().time, followed.live
        failures = 0
        # Looked at each time: a stream that is cancelled as it fails may raise its failure and lose the cancellation.
        while self._followed.get(scope) is followed:
            began = time()
            try:
                await self._listen(scope, live)
                why = "it ended"
            except Unsupported:
                self._unwatchable.add(scope[1])
                if self._followed.get(scope) is followed:
                    self._end(scope)
                return
            except InterlockError as error:
                why = error.code
            except Exception as error:  # noqa: BLE001 - whatever broke it, the cure is to begin anew and to keep nothing
                why = type(error).__name__
            if self._followed.get(scope) is not followed:
                return
            if live.is_set():
                live.clear()
                self._forget(scope)
            failures = 1 if time() - began >= settings.lasting else failures + 1
            if failures == 1:
                _log.warning("changes are not heard of; kept answers last their time", resource=scope[1], reason=why)
            longest = min(settings.cap, settings.base * 2 ** min(failures - 1, 16))
            await asyncio.sleep(longest * self._draw.uniform(0.5, 1.0))

    async def _listen(self, scope: Scope, live: asyncio.Event) -> None:
        """Until the stream ends or breaks."""
        tenant_id, resource = scope
        stream = self._source.changes(resource, self._whose(tenant_id), _START)
        try:
            async for change in stream:
                if change.kind == "resync" or not live.is_set():
                    live.set()
                    self._forget(scope)
                elif change.version <= self._own.get((scope, change.record_id), -1):
                    self.echoes += 1
                else:
                    self.heard += 1
                    self._told.changed(tenant_id, change)
        finally:
            if isinstance(stream, Closes):
                await stream.aclose()

    def _forget(self, scope: Scope) -> None:
        self._told.changed(scope[0], Change(kind="resync", resource=scope[1]))


class _Followed:
    """One scope: when it was last read, who follows it, and whether the stream is there."""

    __slots__ = ("live", "read", "task")

    def __init__(self, now: float) -> None:
        self.read = now
        self.task: asyncio.Task[None] | None = None
        self.live = asyncio.Event()
