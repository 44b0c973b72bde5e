"""The cache: answers of reads, kept until they may have changed.

What makes it right under races: a scope (a tenant's records of one resource) counts the writes that it has seen. A read notes the count before it asks the
backend, and its answer is kept only if the count is still the same. A write raises the count, and drops what it may have changed, after the backend
has answered and before its caller is. A write whose outcome is not known may still land: until it must have, its scope keeps nothing.

Each route has a cache of its own, so an answer of a backend that was switched away is never given again.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded, InterlockError, RateLimited, Unavailable
from interlock.layers.deadline import READS
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Keyed, Scope, Varies, namespace_of, read_key

__all__ = ["Cache", "CacheSettings"]

_AWAY: Final = (Unavailable, DeadlineExceeded, RateLimited)
"""The errors for which an old answer may stand in."""


class CacheSettings(msgspec.Struct, frozen=True):
    """All in seconds, but for `entries`, the most that one cache keeps.

    `ttl` (up to a tenth less, so that entries don't end together), `negative_ttl` for answers without a row, `early`: the share of the time to live at whose
    end a hit refreshes in the background, `stale_if_error`: how long an ended answer may stand in for a backend that is away.
    """

    ttl: float = 300.0
    negative_ttl: float = 5.0
    early: float = 0.1
    stale_if_error: float = 0.0
    entries: int = 10_000


class _Entry:
    __slots__ = ("answer", "ends", "ids", "refresh", "refreshing")

    def __init__(self, answer: Response, ids: tuple[str, ...], refresh: float, ends: float) -> None:
        self.answer = answer
        self.ids = ids
        self.refresh = refresh
        self.ends = ends
        self.refreshing = False

    def given(self) -> Response:
        """The answer, marked as a kept one when it is first given: most never are."""
        answer = self.answer
        if not answer.cached:
            answer = self.answer = msgspec.structs.replace(answer, cached=True)
        return answer


class _Held:
    """What is kept of one scope."""

    __slots__ = ("gets", "lists", "of_record", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self.lists: dict[Hashable, _Entry] = {}
        self.gets: dict[Hashable, _Entry] = {}
        self.of_record: dict[str, set[Hashable]] = {}
        """The gets that a record's change ends."""

    def __len__(self) -> int:
        return len(self.lists) + len(self.gets)

    def entry(self, request: Request, key: Hashable) -> _Entry | None:
        return (self.gets if request.verb == "get" else self.lists).get(key)


class Cache:
    """Keeps the answers of find, get and aggregate. Every write goes to the backend, and drops what it may have changed."""

    def __init__(
        self,
        inner: Backend,
        settings: CacheSettings,
        *,
        varies: Varies = "user",
        told: Invalidation | None = None,
        clock: Callable[[], float] | None = None,
        draw: random.Random | None = None,
    ) -> None:
        self._inner = inner.handle
        keyed = inner if isinstance(inner, Keyed) and inner.varies == varies else None
        self._inner_keyed = None if keyed is None else keyed.handle_keyed
        self._settings = settings
        self._whose = namespace_of(varies)
        self._clock = clock
        self._draw = draw or random.Random()  # noqa: S311 - spreads the ends, keeps no secret
        self._scopes: OrderedDict[Scope, _Held] = OrderedDict()
        self._refreshes: set[asyncio.Future[None]] = set()
        self._told = told or Invalidation()
        self._told.add(self)
        self.kept = 0
        self.hits = 0
        self.misses = 0
        self._looked: tuple[Request | None, Hashable] = (None, None)

    async def handle(self, request: Request) -> Response:
        """A kept answer, marked `cached`, or the inner one."""
        if request.verb not in READS:
            return await self._write(request)
        looked = self._looked
        if looked[0] is request:
            key = looked[1]
        else:
            try:
                key = read_key(request, self._whose(request.identity))
            except TypeError:
                return await self._inner(request)
        scope = (request.identity.tenant_id, request.resource)
        held = self._scopes.get(scope)
        if held is None:
            held = self._open(scope)
        entry = (held.gets if request.verb == "get" else held.lists).get(key)
        if entry is not None:
            now = (self._clock or self._here())()
            if now < entry.refresh:
                self.hits += 1
                return entry.given()
            if now < entry.ends:
                self.hits += 1
                self._refresh(request, scope, key, entry)
                return entry.given()
        self.misses += 1
        writes = held.writes
        try:
            if self._inner_keyed is not None:
                answer = await self._inner_keyed(request, scope, key)
            else:
                answer = await self._inner(request)
        except _AWAY:
            old = None if entry is None else self._instead(request, held, key, entry)
            if old is None:
                raise
            return old
        self._keep(request, scope, held, writes, key, answer)
        return answer

    def at_hand(self, request: Request) -> Response | None:
        """A kept answer to a get; None where there is none that is fresh."""
        if request.verb != "get":
            return None
        identity = request.identity
        held = self._scopes.get((identity.tenant_id, request.resource))
        if held is None:
            return None
        query = request.query
        # `read_key`, written out: a hit costs little else.
        key = (self._whose(identity), "get", request.ids, "without" if query is None else query.deleted)
        entry = held.gets.get(key)
        if entry is None:
            # Whoever finds nothing asks `handle` next, and needs the key again.
            self._looked = (request, key)
            return None
        if (self._clock or self._here())() >= entry.refresh:
            return None
        self.hits += 1
        answer = entry.answer
        return answer if answer.cached else entry.given()

    async def aclose(self) -> None:
        """Stop refreshing."""
        for task in tuple(self._refreshes):
            task.cancel()
        await asyncio.gather(*self._refreshes, return_exceptions=True)

    # -- reading --------------------------------------------------------------------------------------------------

    def _instead(self, request: Request, held: _Held, key: Hashable, old: _Entry) -> Response | None:
        """The old answer, where it is good enough for when the backend is away."""
        now = (self._clock or self._here())()
        if held.entry(request, key) is not old or now >= old.ends + self._settings.stale_if_error:
            return None
        return msgspec.structs.replace(old.given(), stale=True)

    def _here(self) -> Callable[[], float]:
        """The clock. Asked for once: which loop runs costs more than all the rest."""
        loop = asyncio.get_running_loop()
        # asyncio's own loops ask this clock, by way of a method that costs as much again.
        plain = getattr(type(loop), "time", None) is asyncio.BaseEventLoop.time
        self._clock = monotonic if plain else loop.time
        return self._clock

    def _open(self, scope: Scope) -> _Held:
        held = self._scopes[scope] = _Held()
        while len(self._scopes) > self._settings.entries:
            # Whoever loads into the one that goes finds it gone, and keeps nothing.
            _, gone = self._scopes.popitem(last=False)
            self.kept -= len(gone)
        return held

    def _keep(self, request: Request, scope: Scope, held: _Held, writes: int, key: Hashable, answer: Response) -> None:
        """Keep an answer that was asked for after so many writes, where none has come since."""
        if held.writes == writes and self._scopes.get(scope) is held:
            self._put(request, scope, held, key, answer)

    def _put(self, request: Request, scope: Scope, held: _Held, key: Hashable, answer: Response) -> None:
        if not self._told.settled(scope):
            return
        settings = self._settings
        ttl = settings.ttl if answer.rows or answer.groups else settings.negative_ttl
        ttl *= 1.0 - 0.1 * self._draw.random()
        now = (self._clock or self._here())()
        entry = _Entry(answer, request.ids, now + ttl * (1 - settings.early), now + ttl)
        if request.verb == "get":
            entries = held.gets
            of_record = held.of_record
            for record_id in request.ids:
                keys = of_record.get(record_id)
                if keys is None:
                    of_record[record_id] = {key}
                else:
                    keys.add(key)
        else:
            entries = held.lists
        if key not in entries:
            self.kept += 1
        entries[key] = entry
        if self.kept > settings.entries:
            self._make_room()

    def _make_room(self) -> None:
        for _ in range(len(self._scopes)):
            if self.kept <= self._settings.entries:
                break
            self._evict()

    def _evict(self) -> None:
        """The scope that was opened first gives up what it holds."""
        scope, held = next(iter(self._scopes.items()))
        self._scopes.move_to_end(scope)
        self.kept -= len(held)
        _clear(held)

    def _refresh(self, request: Request, scope: Scope, key: Hashable, entry: _Entry) -> None:
        """Load again in the background; whoever comes meanwhile has the kept answer."""
        if entry.refreshing:
            return
        entry.refreshing = True
        task = asyncio.ensure_future(self._again(msgspec.structs.replace(request, deadline=None), scope, key, entry))
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)

    async def _again(self, request: Request, scope: Scope, key: Hashable, entry: _Entry) -> None:
        self.misses += 1
        held = self._scopes.get(scope)
        if held is None:
            return
        writes = held.writes
        try:
            answer = await self._inner(request)
        except InterlockError:
            # The kept answer is good until it ends; then the caller sees the error.
            entry.refreshing = False
        else:
            self._keep(request, scope, held, writes, key, answer)

    # -- writing --------------------------------------------------------------------------------------------------

    async def _write(self, request: Request) -> Response:
        try:
            answer = await self._inner(request)
        except InterlockError as error:
            self._told.written(request, known=error.status < 500)
            raise
        except BaseException:
            self._told.written(request, known=False)
            raise
        self._told.written(request, known=True)
        return answer

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        """Count a write; drop all lists and sums of the scope, and the gets of the records (None: of all)."""
        held = self._scopes.get(scope)
        if held is None:
            return
        held.writes += 1
        self.kept -= len(held)
        if records is None:
            _clear(held)
        else:
            held.lists.clear()
            for record_id in records:
                for key in held.of_record.pop(record_id, ()):
                    _strike(held, key, record_id)
        self.kept += len(held)


def _strike(held: _Held, key: Hashable, record_id: str) -> None:
    """One get less, also by the other records that it asked for."""
    for other in held.gets.pop(key).ids:
        keys = held.of_record.get(other)
        if keys is not None and other != record_id:
            keys.discard(key)
            if not keys:
                del held.of_record[other]


def _clear(held: _Held) -> None:
    held.lists.clear()
    held.gets.clear()
    held.of_record.clear()
