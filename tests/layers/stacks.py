"""The stacks that the races play on: by seed each layer alone, in pairs and all together, tight enough that each has something to do."""

from __future__ import annotations

import random
from typing import Any

from tests.layers.races import Stack

from interlock.contract import Backend
from interlock.layers.batching import Batch
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.deadline import Deadline
from interlock.layers.hedging import Hedge, HedgeSettings
from interlock.layers.keys import Varies
from interlock.layers.retry import Budget, Retry, RetrySettings
from interlock.layers.single_flight import SingleFlight

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


def stack_of(seed: int) -> Stack:
    """The stack of a seed."""
    draw = random.Random(seed * 7919)
    on = KINDS[seed % len(KINDS)]
    varies = draw.choice(VARIES)
    kept = CacheSettings(
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
            rules = BreakerSettings(calls=6, failures=0.7, pause=0.05)
            put(Breaker(below(), rules, draw=draw))
        if "retry" in on:
            settings = RetrySettings(cap=0.05)
            put(Retry(below(), settings, Budget(0.3, 3), draw))
        if "bulkhead" in on:
            put(Bulkhead(below(), places, queue))
        if "hedge" in on:
            put(Hedge(below(), HedgeSettings(known=3, floor=0.001, ratio=0.5)))
        if "deadline" in on:
            put(Deadline(below(), 0.3))
        if "batch" in on:
            put(Batch(below(), most=most))
        if "flight" in on:
            put(SingleFlight(below(), varies=varies, told=told))
        if "cache" in on:
            put(Cache(below(), kept, varies=varies, told=told, draw=draw))
        return layers

    limited = not {"deadline", "bulkhead", "breaker", "batch"}.isdisjoint(on)
    return Stack(around, varies, limited, "deadline" in on)
