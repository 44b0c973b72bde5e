"""The stacks that the races play on: by seed each layer alone, in pairs and all together, tight enough that each has something to do."""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from typing import Any

from tests.layers.races import SETTLE, Stack

from interlock.contract import Backend
from interlock.layers.keys import Varies

NAMES = (
    "batching",
    "breaker",
    "bulkhead",
    "caching",
    "deadline",
    "hedging",
    "invalidation",
    "keys",
    "retry",
    "single_flight",
    "trials",
)
Modules = Mapping[str, Any]

KINDS = (
    ("cache",),
    ("flight",),
    ("batch",),
    ("cache", "flight"),
    ("cache", "batch"),
    ("flight", "batch"),
    ("cache", "retry"),
    ("cache", "flight", "batch"),
    ("cache", "flight", "batch", "deadline", "hedge", "bulkhead", "retry", "breaker"),
    ("cache", "flight", "batch", "deadline", "bulkhead", "retry", "breaker"),
    ("flight", "batch", "deadline", "hedge", "bulkhead"),
)
VARIES: tuple[Varies, ...] = ("tenant", "tenant", "role", "user")


def modules() -> dict[str, Any]:
    """The layers' modules, by name."""
    return {name: importlib.import_module(f"interlock.layers.{name}") for name in NAMES}


def invalidation(m: Modules) -> Any:
    """Who tells the layers of a world."""
    return m["invalidation"].Invalidation(SETTLE)


def stack_of(m: Modules, seed: int) -> Stack:
    """The stack of a seed."""
    draw = random.Random(seed * 7919)
    on = KINDS[seed % len(KINDS)]
    varies = draw.choice(VARIES)
    kept = m["caching"].CacheSettings(
        ttl=draw.choice((60, 60, 1.0, 0.02)),
        early=draw.choice((0.1, 0.5, 0.9)),
        negative_ttl=draw.choice((0.01, 60)),
        stale_if_error=draw.choice((0, 60)),
        entries=draw.choice((1, 2, 1000, 1000)),
    )
    most, places, queue = draw.choice((2, 3, 200)), draw.choice((1, 2)), draw.choice((1, 3, 100))

    def around(inner: Backend, told: Any) -> list[Any]:
        layers: list[Any] = []

        def put(layer: Any) -> None:
            layers.insert(0, layer)

        def below() -> Any:
            return layers[0] if layers else inner

        if "breaker" in on:
            rules = m["breaker"].BreakerSettings(calls=6, failures=0.7, pause=0.05)
            put(m["breaker"].Breaker(below(), rules, draw=draw))
        if "retry" in on:
            settings = m["retry"].RetrySettings(cap=0.05)
            put(m["retry"].Retry(below(), settings, m["retry"].Budget(0.3, 3), draw))
        if "bulkhead" in on:
            put(m["bulkhead"].Bulkhead(below(), places, queue))
        if "hedge" in on:
            put(m["hedging"].Hedge(below(), m["hedging"].HedgeSettings(known=3, floor=0.001, ratio=0.5)))
        if "deadline" in on:
            put(m["deadline"].Deadline(below(), 0.3))
        if "batch" in on:
            put(m["batching"].Batch(below(), most=most))
        if "flight" in on:
            put(m["single_flight"].SingleFlight(below(), varies=varies, told=told))
        if "cache" in on:
            put(m["caching"].Cache(below(), kept, varies=varies, told=told, draw=draw))
        return layers

    limited = not {"deadline", "bulkhead", "breaker", "batch"}.isdisjoint(on)
    return Stack(around, varies, limited, "deadline" in on)
