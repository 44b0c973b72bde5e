"""Puts the table around a backend: a module that imports these fixtures gives `inner_backend` and `other_backend`, two backends that share nothing.

Where they are cheap it gives `backends` instead, which makes two for each layer: what is written to them then goes with them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.layers.conform.stacks import (
    ALONE,
    EVERYTHING,
    EVERYTHING_SHARED,
    SHARED,
    Layer,
    Pair,
    around,
    shared_by,
)

from interlock.contract import Backend
from interlock.testing.conformance import BackendConformance, ChangesConformance, Subject
from interlock.testing.servers import RedisServer, ServerMissing

__all__ = [
    "Alone",
    "Backends",
    "Everything",
    "EverythingShared",
    "alone",
    "backends",
    "everything",
    "everything_shared",
    "redis",
]


@pytest.fixture(scope="session")
def redis(missing: Callable[[str], None]) -> Iterator[RedisServer]:
    try:
        server = RedisServer()
    except ServerMissing as error:
        missing(str(error))
        raise
    with server:
        yield server


Backends = Callable[[], tuple[Backend, Backend]]


@pytest.fixture(scope="module")
def backends(inner_backend: Backend, other_backend: Backend) -> Backends:
    return lambda: (inner_backend, other_backend)


@asynccontextmanager
async def _put(
    request: pytest.FixtureRequest, backends: Backends, own: Mapping[str, Layer], shared: Mapping[str, Any]
) -> AsyncIterator[Pair]:
    name, (one, another) = request.param, backends()
    if name in own:
        async with around(one, another, own[name]) as pair:
            yield pair
        return
    url = request.getfixturevalue("redis").url
    async with (
        shared_by(url, shared[name]) as layer,
        shared_by(url, shared[name]) as other,
        around(one, another, layer, other) as pair,
    ):
        yield pair


@pytest.fixture(scope="module", params=[*ALONE, *SHARED])
async def alone(request: pytest.FixtureRequest, backends: Backends) -> AsyncIterator[Pair]:
    async with _put(request, backends, ALONE, SHARED) as pair:
        yield pair


@pytest.fixture(scope="module", params=EVERYTHING)
async def everything(request: pytest.FixtureRequest, backends: Backends) -> AsyncIterator[Pair]:
    async with _put(request, backends, EVERYTHING, {}) as pair:
        yield pair


@pytest.fixture(scope="module", params=EVERYTHING_SHARED)
async def everything_shared(request: pytest.FixtureRequest, backends: Backends) -> AsyncIterator[Pair]:
    async with _put(request, backends, {}, EVERYTHING_SHARED) as pair:
        yield pair


class Alone(BackendConformance):
    """Each layer by itself."""

    @pytest.fixture
    def subject(self, alone: Pair) -> Subject:
        return Subject(alone.one.backend)

    @pytest.fixture
    def another(self, alone: Pair) -> Subject:
        return alone.another


class Everything(BackendConformance, ChangesConformance):
    """All layers, and what the backend tells of changes while they watch too."""

    @pytest.fixture
    def subject(self, everything: Pair) -> Subject:
        return everything.one

    @pytest.fixture
    def another(self, everything: Pair) -> Subject:
        return everything.another


class EverythingShared(BackendConformance, ChangesConformance):
    """All layers, with Redis as the cache's store."""

    @pytest.fixture
    def subject(self, everything_shared: Pair) -> Subject:
        return everything_shared.one

    @pytest.fixture
    def another(self, everything_shared: Pair) -> Subject:
        return everything_shared.another
