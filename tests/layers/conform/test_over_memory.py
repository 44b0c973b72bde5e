"""Each layer alone, and all of them, pass the whole suite over memory."""

from __future__ import annotations

import asyncio

import pytest
from tests.layers.conform.binding import (
    Alone,
    Backends,
    Everything,
    EverythingShared,
    alone,
    everything,
    everything_shared,
    redis,
)

from interlock.backends.memory import MemoryBackend
from interlock.contract import Request, Response
from interlock.entities import ENTITIES
from interlock.testing.samples import TEST_ENTITIES

__all__ = ["alone", "everything", "everything_shared", "redis"]


class Elsewhere(MemoryBackend):
    """Memory that lets others go on while it is asked, as every other backend does."""

    async def handle(self, request: Request) -> Response:
        await asyncio.sleep(0)
        answer = await super().handle(request)
        await asyncio.sleep(0)
        return answer


def memory() -> MemoryBackend:
    return Elsewhere((*ENTITIES, *TEST_ENTITIES))


@pytest.fixture(scope="module")
def backends() -> Backends:
    return lambda: (memory(), memory())


class TestAlone(Alone):
    """Each layer by itself."""


class TestEverything(Everything):
    """In the product's own order."""


class TestEverythingShared(EverythingShared):
    """In the product's own order, with Redis."""
