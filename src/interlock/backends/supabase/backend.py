"""A Supabase project as a backend: PostgREST for the verbs, its own services for what they cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from interlock.abilities import Health, TokenSource
from interlock.backends.supabase.changes import Changes
from interlock.backends.supabase.client import Caller, SupabaseSettings
from interlock.backends.supabase.codec import Codec
from interlock.backends.supabase.reads import Reader
from interlock.backends.supabase.writes import Writer
from interlock.contract import Change, Identity, Record, Request, Response
from interlock.entity import Entity
from interlock.errors import InterlockError, Unauthenticated, Unavailable, Unsupported
from interlock.http import Call, Engine, open_engine

__all__ = ["SupabaseBackend"]


class SupabaseBackend:
    """`Backend`, `Probes`, `Subscribes`, `ForwardsAudit` and `Closes` over a project that has Interlock's migrations.

    `tokens` hands out what proves an identity there. Internal entities have no table: log-in is Supabase's own.
    """

    def __init__(
        self,
        settings: SupabaseSettings,
        entities: Sequence[Entity[Any]],
        *,
        tokens: TokenSource,
        name: str = "supabase",
        engine: Engine | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._engine = engine or open_engine(settings.engine, connect_timeout=settings.connect_timeout)
        self._codecs = {entity.resource: Codec(entity) for entity in entities if not entity.internal}
        self._caller = Caller(settings, self._engine, tokens)
        self._reader = Reader(self._caller, self._codecs, name)
        self._writer = Writer(self._caller, self._codecs, name)
        self._changes = Changes(
            settings.url,
            settings.anon_key,
            tokens=tokens,
            call=self._caller.function,
            handle=self.handle,
            realtime=settings.realtime,
        )
        self._verbs = {
            "find": self._reader.find,
            "get": self._reader.get,
            "aggregate": self._reader.aggregate,
        }
        self._closed = False

    def __repr__(self) -> str:
        return f"SupabaseBackend({self.name!r}, url={self._settings.url!r})"

    async def handle(self, request: Request) -> Response:
        """Answer one request. Raises `Unsupported` for a resource that has no table."""
        if self._closed:
            raise Unavailable(f"the backend {self.name!r} is closed")
        if not request.identity.tenant_id:
            raise Unauthenticated("the caller has no tenant; log in first")
        if request.resource not in self._codecs:
            raise Unsupported(self.name, f"it has no resource {request.resource!r}")
        read = self._verbs.get(request.verb)
        return await (read(request) if read is not None else self._writer.write(request))

    async def probe(self, timeout: float = 2.0) -> Health:
        """Whether PostgREST answers, by a call that reads nothing of anybody's."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        headers = {"apikey": self._settings.anon_key, "Accept": "application/json"}
        call = Call("GET", f"{self._caller.rest}rpc/interlock_version", headers, timeout=timeout)
        try:
            async with asyncio.timeout(timeout):
                reply = await self._engine.send(call)
        except InterlockError as error:
            return Health(False, loop.time() - began, error.message)
        except TimeoutError:
            return Health(False, loop.time() - began, f"no answer within {timeout:g} s")
        took = loop.time() - began
        if reply.status == 200:
            return Health(True, took, version=reply.body.decode("utf-8", "replace").strip('"')[:40])
        return Health(False, took, f"PostgREST answers with status {reply.status}")

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        """See `Subscribes.changes`."""
        if resource not in self._codecs:
            raise Unsupported(self.name, f"it has no resource {resource!r}")
        return self._changes.watch(resource, identity, after)

    async def pending_audit(self, limit: int = 100) -> Sequence[Record]:
        """See `ForwardsAudit.pending_audit`."""
        return await self._writer.pending_audit(limit)

    async def acknowledge_audit(self, ids: Sequence[str]) -> None:
        """See `ForwardsAudit.acknowledge_audit`."""
        await self._writer.acknowledge_audit(ids)

    async def aclose(self) -> None:
        """Release the connections. Closing twice does nothing more."""
        self._closed = True
        await self._changes.aclose()
        await self._engine.aclose()
