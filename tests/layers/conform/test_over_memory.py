"""Each layer alone, and all of them, pass the whole suite over memory."""

from __future__ import annotations

import asyncio

import pytest
from tests.layers.conform.binding import Alone, Everything, alone, everything, redis

from interlock.backends.memory import MemoryBackend
from interlock.contract import Request, Response
from interlock.entities import ENTITIES
from interlock.testing.conformance import BackendConformance
from interlock.testing.samples import TEST_ENTITIES

__all__ = ["alone", "everything", "redis"]


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
def inner_backend() -> MemoryBackend:
    return memory()


@pytest.fixture(scope="module")
def other_backend() -> MemoryBackend:
    return memory()


class TestAlone(Alone, BackendConformance):
    """Nothing of the suite is left out here."""


class TestEverything(Everything):
    """In the product's own order."""
