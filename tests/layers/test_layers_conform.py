"""Each layer is a backend: it passes the suite alone, and all of them together do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Backend
from interlock.entities import ENTITIES
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
from interlock.testing.conformance import BackendConformance, Subject
from interlock.testing.samples import TEST_ENTITIES


def everything(inner: Backend) -> Backend:
    inner = Breaker(inner, BreakerSettings())
    inner = Retry(inner, RetrySettings(), Budget(0.1, 3))
    inner = Bulkhead(inner, 64, 256)
    inner = Deadline(inner, 30)
    inner = Batch(inner)
    inner = SingleFlight(inner)
    return Cache(inner, CacheSettings())


LAYERS: dict[str, Callable[[Backend], Backend]] = {
    "breaker": lambda inner: Breaker(inner, BreakerSettings()),
    "retry": lambda inner: Retry(inner, RetrySettings(), Budget(0.1, 3)),
    "bulkhead": lambda inner: Bulkhead(inner, 4, 10_000),
    "deadline": lambda inner: Deadline(inner, 30),
    "batch": lambda inner: Batch(inner),
    "single-flight": lambda inner: SingleFlight(inner),
    "cache": lambda inner: Cache(inner, CacheSettings()),
    "everything": everything,
}


@pytest.fixture(params=LAYERS)
def wrap(request: pytest.FixtureRequest) -> Callable[[Backend], Backend]:
    return LAYERS[request.param]


class TestLayersOverMemory(BackendConformance):
    @pytest.fixture
    def subject(self, wrap: Callable[[Backend], Backend]) -> Subject:
        return Subject(wrap(MemoryBackend((*ENTITIES, *TEST_ENTITIES))))

    @pytest.fixture
    def another(self, wrap: Callable[[Backend], Backend]) -> Subject:
        return Subject(wrap(MemoryBackend((*ENTITIES, *TEST_ENTITIES))))
