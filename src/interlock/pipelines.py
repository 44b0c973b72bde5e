"""Putting the layers around backends, as the settings ask: one pipeline for each route, and what the routes have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec

from interlock.abilities import Subscribes
from interlock.entity import Entity
from interlock.errors import Misconfigured
from interlock.health import RouteState
from interlock.layers.caching import CacheSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.pipeline import Around, Guard, LayerSettings, Pipeline
from interlock.layers.shared import Membership, SharedCache
from interlock.layers.shared.store import Store
from interlock.layers.watching import Watcher
from interlock.mounting import Mount
from interlock.observability import Observability
from interlock.router import AtHand, Handle, Route
from interlock.settings import Settings
from interlock.warmup import WarmingUp

__all__ = ["Pipelines", "layers_of", "redis_store"]


class Pipelines:
    """The pipelines of one application. Owned and closed by it, before the backends."""

    def __init__(
        self, settings: Settings, entities: Mapping[str, Entity[Any]], watched_by: Observability, warming: WarmingUp
    ) -> None:
        self._settings = settings
        self._entities = entities
        self._observability = watched_by
        self._warming = warming
        self._told = Invalidation()
        self._guards: dict[str, Guard] = {}
        self._held: dict[Route, Pipeline] = {}
        self._notes: dict[Route, str] = {}
        self.membership: Membership | None = None
        """This process among those that share a cache; None where each has its own."""

    async def start(self) -> None:
        """Join the processes that share a cache, where the settings name a server. One that is away is no error: reads go past it."""
        url = self._settings.redis_url
        if url is None or not self._settings.cache:
            return
        self.membership = Membership(redis_store(url.get_secret_value()), told=self._told)
        await self.membership.start()

    async def aclose(self) -> None:
        """Close what is left, and leave the others."""
        for route in tuple(self._held):
            await self.close(route)
        if self.membership is not None:
            await self.membership.aclose()

    def route(self, service: str, mount: Mount, epoch: int) -> Route:
        """A new route of a service, its calls through all of its layers."""
        settings = layers_of(self._settings, mount.name)
        uncached = self._uncached(mount)
        if uncached:
            settings = msgspec.structs.replace(settings, cache=False)
        guard = self._guards.setdefault(mount.name, Guard(settings))
        pipeline = Pipeline(
            mount.backend,
            service=service,
            name=mount.name,
            settings=settings,
            guard=guard,
            told=self._told,
            watched=self._watched(mount),
            shared=self._shared(service, mount, settings),
            meter=self._observability.meter_for(service, mount.name, epoch),
        )
        self._observability.recorder.opened(service, mount.name, epoch, pipeline.layers, guard.budget)
        cached = "cache" in pipeline.layers
        handle: Handle = pipeline.handle
        at_hand: AtHand | None = pipeline.at_hand
        if cached:
            handle = self._warming.remembered(service, handle)
            at_hand = None if at_hand is None else self._warming.remembered_at_hand(service, at_hand)
        route = Route(
            service, mount.name, mount.backend, epoch, handle=handle, at_hand=at_hand, abilities=mount.abilities
        )
        self._held[route] = pipeline
        if uncached:
            self._notes[route] = uncached
        return route

    def note_of(self, route: Route) -> str:
        """What is otherwise than by default on a route, and why; "" for nothing."""
        return self._notes.get(route, "")

    def _uncached(self, mount: Mount) -> str:
        """Why the cache is off on a backend although it is on by default; "" where it is on, or was asked for, or is off anyway."""
        if not self._settings.cache or "cache" not in self._settings.by_default:
            return ""
        if mount.name == "mock" or self.membership is not None or self._watched(mount) is not None:
            return ""
        return "cache off: nothing here tells of what others write; INTERLOCK_CACHE=true has it on all the same"

    def of(self, route: Route) -> Pipeline:
        """The pipeline of a route that has not been closed."""
        return self._held[route]

    def state_of(self, route: Route) -> RouteState:
        """What the layers of a route say of its health."""
        pipeline = self._held.get(route)
        told: Mapping[str, Any] = {} if pipeline is None else pipeline.describe()
        breaker, places, cache = (told.get(name, {}) for name in ("breaker", "bulkhead", "cache"))
        return RouteState(
            breaker=breaker.get("state", ""),
            in_use=places.get("in_use", 0),
            queued=places.get("queued", 0),
            places=places.get("concurrency", 0),
            stands_in=cache["ttl"] + cache["stale"] if cache.get("stale") else 0.0,
        )

    def followed(self, route: Route) -> Callable[[str, str], Coroutine[Any, Any, None]] | None:
        """What waits until a tenant's resource is watched on the route, where the route watches."""
        watcher = self._held[route].layers.get("watcher")
        return watcher.established if isinstance(watcher, Watcher) else None

    async def retire(self, *services: str) -> None:
        """Nothing that any process has kept of these services until now is given again."""
        if self.membership is not None:
            for service in services:
                await self.membership.retire(service)

    async def close(self, route: Route) -> None:
        """A route has drained: end what its layers run in the background."""
        self._notes.pop(route, None)
        pipeline = self._held.pop(route, None)
        if pipeline is not None:
            self._observability.recorder.closed(route.service, route.epoch)
            await pipeline.aclose()

    def _watched(self, mount: Mount) -> Subscribes | None:
        """What tells of others' changes. Nobody but this process writes to a mock."""
        if not self._settings.cache_watch or mount.name == "mock" or not isinstance(mount.backend, Subscribes):
            return None
        return mount.backend

    def _shared(self, service: str, mount: Mount, settings: LayerSettings) -> Around | None:
        """The shared cache around a backend that other processes reach too."""
        membership = self.membership
        if membership is None or not mount.where:
            return None
        kept = CacheSettings(ttl=settings.ttl, stale_if_error=settings.stale)
        where = f"{mount.name} {hashlib.blake2b(mount.where.encode(), digest_size=16).hexdigest()}"
        return lambda inner: SharedCache(
            inner,
            kept,
            membership,
            service=service,
            where=where,
            entities=self._entities,
            varies=settings.varies(mount.name),
            keeps=settings.keeps(service),
        )


def redis_store(url: str) -> Store:
    """The way to the server. Raises `Misconfigured` where its package is not installed, or the address is none."""
    try:
        from interlock.layers.shared.redis import RedisStore
    except ModuleNotFoundError as error:
        if error.name != "hiredis":
            raise
        raise Misconfigured(
            ["INTERLOCK_REDIS_URL: hiredis is not installed; pip install 'interlock[redis]', or unset it"]
        ) from error
    return RedisStore(url)


def layers_of(settings: Settings, backend: str) -> LayerSettings:
    """The layers of a backend, as the settings have them."""
    limits = settings.limits_of(backend)
    return LayerSettings(
        cache=settings.cache,
        ttl=settings.cache_ttl,
        stale=settings.cache_stale,
        dedup=settings.dedup,
        batch=settings.batch,
        deadline=limits.deadline,
        concurrency=limits.concurrency,
        queue=limits.queue,
        retries=limits.retries,
        retry_budget=limits.retry_budget,
        breaker_failures=limits.breaker_failures if limits.breaker else 0.0,
        breaker_pause=limits.breaker_pause,
        hedge=limits.hedge,
    )
