"""The layers: each wraps a backend and is one."""

from __future__ import annotations

from interlock.layers.batching import Batch
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.deadline import Deadline
from interlock.layers.retry import Budget, Retry, RetrySettings
from interlock.layers.single_flight import SingleFlight

__all__ = [
    "Batch",
    "Breaker",
    "BreakerSettings",
    "Budget",
    "Bulkhead",
    "Cache",
    "CacheSettings",
    "Deadline",
    "Retry",
    "RetrySettings",
    "SingleFlight",
]
