"""The one table of what stands around a backend while it passes the suite: each layer alone, and all of them as the product builds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, cast

import msgspec

from interlock.abilities import Closes, Subscribes
from interlock.contract import Backend, Request, Response
from interlock.entities import ENTITIES
from interlock.identifiers import new_id
from interlock.layers import (
    Batch,
    Breaker,
    BreakerSettings,
    Budget,
    Bulkhead,
    Cache,
    CacheSettings,
    Deadline,
    Retry,
    RetrySettings,
    SingleFlight,
)
from interlock.layers.hedging import Hedge, HedgeSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.meter import Meter
from interlock.layers.pipeline import Around, LayerSettings, Pipeline
from interlock.layers.shared import Membership, MembershipSettings, SharedCache
from interlock.layers.shared.redis import RedisStore
from interlock.layers.watching import Watcher, WatchSettings
from interlock.observability.metrics import Recorder
from interlock.testing.conformance import Subject
from interlock.testing.samples import TEST_ENTITIES

__all__ = [
    "ALONE",
    "EVERYTHING",
    "EVERYTHING_SHARED",
    "SETTINGS",
    "SHARED",
    "Layer",
    "Pair",
    "around",
    "everything",
    "shared_by",
]


class Layer(msgspec.Struct, frozen=True):
    """How it is put around a backend, and what shows that it had something to do."""

    wrap: Callable[[Backend], Backend]
    worked: Callable[[Any], int]


class _Metered(Meter):
    def __init__(self, inner: Backend) -> None:
        self.recorder = Recorder()
        super().__init__(inner, self.recorder.counts("samples", "under test"))


ALONE: Final[Mapping[str, Layer]] = MappingProxyType(
    {
        "breaker": Layer(lambda inner: Breaker(inner, BreakerSettings()), lambda layer: layer.state == "closed"),
        "retry": Layer(lambda inner: Retry(inner, RetrySettings(), Budget(0.1, 3)), lambda layer: True),
        "bulkhead": Layer(lambda inner: Bulkhead(inner, 4, 10_000), lambda layer: layer.in_use == 0),
        "deadline": Layer(lambda inner: Deadline(inner, 60), lambda layer: True),
        # Every second read of a kind is sent twice: more than it ever is in earnest.
        "hedge": Layer(
            lambda inner: Hedge(inner, HedgeSettings(quantile=0.5, floor=0.0, known=1, ratio=1.0)),
            lambda layer: layer.sent,
        ),
        "batch": Layer(Batch, lambda layer: True),
        "single-flight": Layer(SingleFlight, lambda layer: True),
        "watcher": Layer(
            lambda inner: Watcher(inner, cast("Subscribes", inner), Invalidation(), WatchSettings()),
            lambda layer: layer.following,
        ),
        "cache": Layer(lambda inner: Cache(inner, CacheSettings()), lambda layer: layer.hits),
    }
)
"""Those that need nothing but a backend. What watches has its own test, `tests/observability/test_conform.py`."""

SETTINGS: Final = LayerSettings(
    cache=True, dedup=True, batch=True, deadline=60.0, concurrency=64, queue=10_000, retries=2, hedge=0.05
)
"""Everything on."""


def _hits(layer: Any) -> int:
    cache: Any = layer.layers["cache"] if isinstance(layer, Pipeline) else layer
    return int(cache.hits)


def everything(backend: Backend, told: Invalidation | None = None, shared: Around | None = None) -> Pipeline:
    """All layers, in the product's own order."""
    return Pipeline(
        backend,
        service="samples",
        name="under test",
        settings=SETTINGS,
        told=told,
        watched=backend if isinstance(backend, Subscribes) else None,
        shared=shared,
        meter=_Metered,
    )


EVERYTHING: Final[Mapping[str, Layer]] = MappingProxyType({"everything": Layer(everything, _hits)})

OverRedis = Callable[[Backend, Invalidation, Around], Backend]

SHARED: Final[Mapping[str, OverRedis]] = MappingProxyType({"shared cache": lambda inner, told, cache: cache(inner)})
"""What is alone, and needs a server that keeps the answers."""

EVERYTHING_SHARED: Final[Mapping[str, OverRedis]] = MappingProxyType({"everything with redis": everything})


@asynccontextmanager
async def shared_by(url: str, wrap: OverRedis) -> AsyncIterator[Layer]:
    """A process of its own, on the server that the URL names."""
    told, settings = Invalidation(), MembershipSettings(quarantine=0)
    # A loaded machine may stop this process for longer than a step is given.
    membership = Membership(RedisStore(url, settings, name=new_id(), patience=5.0), settings, told=told)
    await membership.start()
    entities = {entity.resource: entity for entity in (*ENTITIES, *TEST_ENTITIES)}

    def cache(inner: Backend) -> Backend:
        return SharedCache(inner, CacheSettings(), membership, service="samples", where="here", entities=entities)

    yield Layer(lambda inner: wrap(inner, told, cache), lambda layer: membership.state == "serving" and _hits(layer))
    await membership.aclose()


_A_WHOLE_RUN: Final = 1500
"""Requests after which a layer that has had nothing to do was not tested."""


class _Counting:
    def __init__(self, inner: Backend) -> None:
        self._inner = inner.handle
        self.calls = 0

    async def handle(self, request: Request) -> Response:
        self.calls += 1
        return await self._inner(request)


class Pair(msgspec.Struct, frozen=True):
    """The subject of the suite, and another instance that shares nothing with it."""

    one: Subject
    another: Subject


@asynccontextmanager
async def around(one: Backend, another: Backend, layer: Layer, other: Layer | None = None) -> AsyncIterator[Pair]:
    """Both backends, each inside such a layer, or the second one in the other. Says at its end whether the layer was put to the test."""
    inside, beside = layer.wrap(one), (other or layer).wrap(another)
    counting = _Counting(inside)
    watched = {Subscribes: one} if isinstance(one, Subscribes) else {}
    yield Pair(Subject(counting, watched), Subject(beside))
    worked = layer.worked(inside)
    for wrapped in (inside, beside):
        if isinstance(wrapped, Closes):
            await wrapped.aclose()
    assert counting.calls < _A_WHOLE_RUN or worked, "the layer has done nothing"
