"""The layers that the settings ask for, around one route's backend, outermost first:
meter, cache, watcher, single-flight, batch, deadline, hedge, bulkhead, retry, breaker. One that is off is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.abilities import Closes, KnowsOperations, Subscribes
from interlock.contract import Backend
from interlock.layers.batching import Batch
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.deadline import Deadline
from interlock.layers.hedging import Hedge, HedgeSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Keeps, Varies
from interlock.layers.retry import Budget, Retry, RetrySettings
from interlock.layers.single_flight import SingleFlight
from interlock.layers.telling import Telling
from interlock.layers.trials import Trials
from interlock.layers.watching import Watcher, WatchSettings

__all__ = ["Around", "Guard", "LayerSettings", "Pipeline"]

_SHARED_BY_TENANT: Final = frozenset({"mock", "sql"})
"""Backends whose answers depend on nobody's role: the services have looked at it before. Any other may filter by user."""

_WRITTEN_BESIDE: Final = frozenset({"users", "auth"})
"""Services whose records log-in writes too, beside the layers: nothing of them is kept."""

Around = Callable[[Backend], Backend]
"""Puts a layer around a backend."""


class LayerSettings(msgspec.Struct, frozen=True):
    """Which layers a backend is given.

    `ttl` and `stale` (the cache's), `deadline` and `breaker_pause` are in seconds; 0 in `deadline`, `concurrency`, `retries` (attempts after the first), `breaker_failures`
    and `hedge` leaves the layer out. `queue` is how many calls may wait for a place; `retry_budget`, `breaker_failures` and `hedge` are shares of the calls.
    """

    cache: bool = False
    ttl: float = 300.0
    stale: float = 0.0
    dedup: bool = False
    batch: bool = False
    deadline: float = 30.0
    concurrency: int = 64
    queue: int = 1000
    retries: int = 2
    retry_budget: float = 0.1
    breaker_failures: float = 0.5
    breaker_pause: float = 2.0
    hedge: float = 0.0

    def varies(self, backend: str) -> Varies:
        """For whom a backend's answers are the same."""
        return "tenant" if backend in _SHARED_BY_TENANT else "user"

    def keeps(self, service: str) -> bool:
        """Whether anything of the service is cached."""
        return self.cache and service not in _WRITTEN_BESIDE


class Guard:
    """What the pipelines of one backend have in common: the budget of its retries, and the calls that try it while it is sick."""

    def __init__(self, settings: LayerSettings) -> None:
        self.budget = Budget(settings.retry_budget, RetrySettings().floor)
        self.trials = Trials(BreakerSettings().permits)


class Pipeline:
    """A backend behind its layers, for one service. `layers` are by name, outermost first."""

    def __init__(
        self,
        backend: Backend,
        *,
        service: str,
        name: str,
        settings: LayerSettings,
        guard: Guard | None = None,
        told: Invalidation | None = None,
        watched: Subscribes | None = None,
        shared: Around | None = None,
        meter: Around | None = None,
    ) -> None:
        guard = guard or Guard(settings)
        repeats = backend.knows_operations if isinstance(backend, KnowsOperations) else True
        told = told or Invalidation()
        varies = settings.varies(name)
        self._settings = settings
        self._inner = backend
        self._layers: dict[str, Backend] = {}
        if settings.breaker_failures:
            rules = BreakerSettings(failures=settings.breaker_failures, pause=settings.breaker_pause)
            self._put("breaker", lambda inner: Breaker(inner, rules, name=f"{service} on {name}", trials=guard.trials))
        if settings.retries:
            attempts = RetrySettings(attempts=settings.retries + 1, ratio=settings.retry_budget)
            self._put("retry", lambda inner: Retry(inner, attempts, guard.budget, repeats=repeats))
        if settings.concurrency:
            self._put("bulkhead", lambda inner: Bulkhead(inner, settings.concurrency, settings.queue))
        if settings.hedge:
            self._put("hedge", lambda inner: Hedge(inner, HedgeSettings(ratio=settings.hedge)))
        if settings.deadline:
            self._put("deadline", lambda inner: Deadline(inner, settings.deadline))
        if settings.batch:
            self._put("batch", Batch)
        if settings.dedup:
            self._put("single_flight", lambda inner: SingleFlight(inner, varies=varies, told=told))
        if settings.cache and not settings.keeps(service):
            self._put("telling", shared or (lambda inner: Telling(inner, told)))
        elif settings.cache:
            if watched is not None:
                watching = WatchSettings(idle=settings.ttl)
                self._put("watcher", lambda inner: Watcher(inner, watched, told, watching))
            kept = CacheSettings(ttl=settings.ttl, stale_if_error=settings.stale)
            self._put("cache", shared or (lambda inner: Cache(inner, kept, varies=varies, told=told)))
        if meter is not None:
            self._put("meter", meter)
        self.layers = MappingProxyType(dict(reversed(self._layers.items())))
        self.handle = self._inner.handle
        self.at_hand = self._inner.at_hand if "cache" in self._layers and isinstance(self._inner, Keeps) else None

    def _put(self, name: str, around: Around) -> None:
        self._inner = self._layers[name] = around(self._inner)

    async def aclose(self) -> None:
        """End what runs in the background, the outermost layer first."""
        for layer in self.layers.values():
            if isinstance(layer, Closes):
                await layer.aclose()

    def describe(self) -> dict[str, Any]:
        """Each layer, outermost first, with its settings (as `LayerSettings` names them) and its state: counts and words, no secrets."""
        return {
            name: {
                **{field: getattr(self._settings, field) for field in _SET.get(name, ())},
                **{field: found for field in _TOLD.get(name, ()) if (found := getattr(layer, field, None)) is not None},
            }
            for name, layer in self.layers.items()
        }


_SET: Final = MappingProxyType(
    {
        "cache": ("ttl", "stale"),
        "deadline": ("deadline",),
        "hedge": ("hedge",),
        "bulkhead": ("concurrency", "queue"),
        "retry": ("retry_budget",),
        "breaker": ("breaker_failures", "breaker_pause"),
    }
)
_TOLD: Final = MappingProxyType(
    {
        "cache": ("hits", "misses", "kept", "state"),
        "watcher": ("heard", "echoes"),
        "single_flight": ("joined",),
        "hedge": ("sent", "won"),
        "bulkhead": ("in_use", "queued"),
        "retry": ("attempts", "retries"),
        "breaker": ("state",),
    }
)
