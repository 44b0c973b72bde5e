"""Every rule is tested over memory and over a database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES

from .harness import Clock, World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, clock: Clock, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[World]:
    if request.param == "memory":
        world = World(MemoryBackend(ENTITIES, clock=clock), clock)
        await world.populate()
        yield world
        return
    from interlock.backends.sql import SqlBackend, migrate

    url = f"sqlite+aiosqlite:///{tmp_path / 'test.db'}"
    await migrate(url)
    backend = SqlBackend(url, ENTITIES, clock=clock)
    await backend.open()
    try:
        world = World(backend, clock)
        await world.populate()
        yield world
    finally:
        await backend.aclose()


@pytest.fixture
async def memory(clock: Clock, anyio_backend: str) -> World:
    """For what does not depend on the backend."""
    world = World(MemoryBackend(ENTITIES, clock=clock), clock)
    await world.populate()
    return world
