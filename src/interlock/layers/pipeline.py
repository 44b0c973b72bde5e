"""The layers that the settings ask for, around one route's backend, outermost first: cache, single-flight, batch.

Reads that no layer speaks for, and every call where none is asked for, go to the backend as they are.
"""

from __future__ import annotations

from typing import Final

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.layers.batching import Batch
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Varies
from interlock.layers.single_flight import SingleFlight

__all__ = ["LayerSettings", "Pipeline", "layered"]

_SHARED_BY_TENANT: Final = frozenset({"mock", "sql"})
"""Backends whose answers depend on nobody's role: the services have looked at it before. Any other may filter by user."""

_WRITTEN_BESIDE: Final = frozenset({"users", "credentials"})
"""Resources that log-in writes too, beside the services: nothing of them is kept."""


class LayerSettings(msgspec.Struct, frozen=True):
    """Which layers there are; `ttl` is the cache's, in seconds."""

    cache: bool = False
    ttl: float = 300.0
    dedup: bool = False
    batch: bool = False

    @property
    def any(self) -> bool:
        """True where there is a layer at all."""
        return self.cache or self.dedup or self.batch


class Pipeline:
    """A backend behind its layers."""

    def __init__(self, backend: Backend, name: str, settings: LayerSettings, told: Invalidation) -> None:
        varies: Varies = "tenant" if name in _SHARED_BY_TENANT else "user"
        self._closing: list[Batch | SingleFlight | Cache] = []
        inner = backend
        if settings.batch:
            inner = self._with(Batch(inner))
        if settings.dedup:
            inner = self._with(SingleFlight(inner, varies=varies, told=told))
        self._plain = inner.handle
        if settings.cache:
            inner = self._with(Cache(inner, CacheSettings(ttl=settings.ttl), varies=varies, told=told))
        self._handle = inner.handle

    def _with(self, layer: Batch | SingleFlight | Cache) -> Backend:
        self._closing.append(layer)
        return layer

    async def handle(self, request: Request) -> Response:
        """The answer, of whichever layer has it."""
        if request.resource in _WRITTEN_BESIDE:
            return await self._plain(request)
        return await self._handle(request)

    async def aclose(self) -> None:
        """End what runs in the background."""
        for layer in self._closing:
            await layer.aclose()


def layered(backend: Backend, name: str, settings: LayerSettings, told: Invalidation) -> Pipeline | None:
    """The backend behind the layers, None where there are none."""
    return Pipeline(backend, name, settings, told) if settings.any else None
