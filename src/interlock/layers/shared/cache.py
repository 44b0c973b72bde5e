"""The cache that several processes share: what one writes, no other gives an old answer of once the write is acknowledged.

What makes it right: an answer is kept under a stamp, random names of the state of its scope (a tenant's records of one resource), its service and the
whole cache. A write changes the stamp before it is sent and again before its caller has the answer, and in between marks the scope, so that nothing of it is
served or kept. A process that cannot tell the others waits until none of them may serve (`membership`). Where the server is away, every read goes
to the backend.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.entity import Entity
from interlock.errors import DeadlineExceeded, InterlockError, RateLimited, Unavailable
from interlock.layers.caching import CacheSettings
from interlock.layers.deadline import READS
from interlock.layers.keys import Scope, Varies, namespace_of, scope_of
from interlock.layers.shared.codec import Codec
from interlock.layers.shared.membership import Membership
from interlock.layers.shared.store import Found, Kept, OutOfReach

__all__ = ["SharedCache"]

_AWAY: Final = (Unavailable, DeadlineExceeded, RateLimited)
"""The errors for which an old answer may stand in."""


class SharedCache:
    """Keeps the answers of find, get and aggregate on a server, for all processes. A write is acknowledged once no process gives an answer from before it.

    `where` names the backend and what it points at (a URL without secrets, say): only caches with the same one share answers. Of the settings,
    `entries` says nothing here: the server's own limit of memory does. With `keeps` False nothing is kept, and the writes end what others keep.
    """

    def __init__(
        self,
        inner: Backend,
        settings: CacheSettings,
        membership: Membership,
        *,
        service: str,
        where: str,
        entities: Mapping[str, Entity[Any]],
        varies: Varies = "user",
        keeps: bool = True,
        draw: random.Random | None = None,
    ) -> None:
        self._inner = inner.handle
        self._settings = settings
        self._membership = membership
        self._store = membership.store
        self._service = service
        self._codec = Codec(where, entities)
        self._whose = namespace_of(varies)
        self._keeps = keeps
        self._draw = draw or random.Random()  # noqa: S311 - spreads the ends, keeps no secret
        self._refreshes: set[asyncio.Future[None]] = set()
        self.hits = 0
        self.misses = 0
        self.bypassed = 0

    @property
    def state(self) -> str:
        """`serving`, or `bypassed: ` and the reason."""
        return self._membership.state

    async def handle(self, request: Request) -> Response:
        """A kept answer, marked `cached`, or the inner one."""
        scope = scope_of(request)
        if request.verb not in READS:
            scopes = (scope,) if request.resource == "audit" else (scope, (scope[0], "audit"))
            return await self._membership.write(request, scopes, self._inner)
        if not self._keeps:
            return await self._inner(request)
        key = self._codec.key(request, self._whose(request.identity))
        found = None if key is None else await self._find(scope, key)
        if key is None or found is None:
            self.bypassed += 1
            self._membership.alone(scope)
            return await self._inner(request)
        if found.value is not None and found.phase != "ended":
            answer = self._codec.decode(request, found.value)
            if answer is not None:
                self.hits += 1
                if found.phase == "refresh":
                    self._refresh(request, scope, key)
                return answer
        self.misses += 1
        return await self._load(request, scope, key, found)

    async def aclose(self) -> None:
        """Stop refreshing. What is kept stays, for the other processes."""
        for task in tuple(self._refreshes):
            task.cancel()
        await asyncio.gather(*self._refreshes, return_exceptions=True)

    async def retire(self) -> None:
        """Nothing that was kept of the service until now is given again: call it when its route changes."""
        await self._membership.retire(self._service)

    async def _find(self, scope: Scope, key: bytes) -> Found | None:
        """What the server has, None where the read goes past it."""
        member = self._membership
        if not member.may_read(scope):
            return None
        try:
            found = await self._store.read(member.member, self._service, scope, key)
        except OutOfReach:
            return None
        # A change may have been told of while the server was asked.
        return found if member.saw(scope, found.verdict, found.stamp) and member.may_read(scope) else None

    async def _load(self, request: Request, scope: Scope, key: bytes, found: Found) -> Response:
        try:
            answer = await self._inner(request)
        except _AWAY:
            old = await self._old(request, scope, key) if found.phase == "ended" and found.value else None
            if old is None:
                raise
            return old
        if found.verdict == "serve" and not answer.stale:
            await self._keep(request, scope, key, found.stamp, answer)
        return answer

    async def _old(self, request: Request, scope: Scope, key: bytes) -> Response | None:
        """The ended answer, if nothing was written while the backend failed."""
        again = await self._find(scope, key)
        answer = None if again is None or again.value is None else self._codec.decode(request, again.value)
        return None if answer is None else msgspec.structs.replace(answer, stale=True)

    async def _keep(self, request: Request, scope: Scope, key: bytes, stamp: bytes, answer: Response) -> None:
        value = self._codec.encode(request, answer)
        if value is None or not self._membership.may_read(scope):
            return
        settings = self._settings
        empty = not answer.rows and not answer.groups
        ends = (settings.negative_ttl if empty else settings.ttl) * self._draw.uniform(0.9, 1.0)
        refresh, drop = ends * (1 - settings.early), ends + settings.stale_if_error
        kept = Kept(value, int(refresh * 1000), int(ends * 1000), max(1, int(drop * 1000)))
        try:
            await self._store.keep(self._membership.member, self._service, scope, key, stamp, kept)
        except OutOfReach:
            return

    def _refresh(self, request: Request, scope: Scope, key: bytes) -> None:
        """Load again in the background; whoever comes meanwhile has the kept answer."""
        task = asyncio.ensure_future(self._again(msgspec.structs.replace(request, deadline=None), scope, key))
        self._refreshes.add(task)
        task.add_done_callback(self._refreshes.discard)

    async def _again(self, request: Request, scope: Scope, key: bytes) -> None:
        found = await self._find(scope, key)
        if found is None:
            return
        try:
            await self._load(request, scope, key, Found(found.verdict, found.stamp))
        except InterlockError:
            # The kept answer is good until it ends; then the caller sees the error.
            return
