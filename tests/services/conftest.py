"""Every rule is tested over memory and over a database."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES

from .harness import Clock, World


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an empty database with this version's tables is, once the first test has made it; to copy."""
    return tmp_path_factory.mktemp("database") / "empty.db"


@pytest.fixture(params=["memory", "sqlite"])
async def world(
    request: pytest.FixtureRequest, clock: Clock, empty: Path, tmp_path: Path, anyio_backend: str
) -> AsyncIterator[World]:
    if request.param == "memory":
        world = World(MemoryBackend(ENTITIES, clock=clock), clock)
        await world.populate()
        yield world
        return
    from interlock.backends.sql import SqlBackend, migrate

    path = tmp_path / "test.db"
    if not empty.exists():  # noqa: ASYNC240 - a test may wait for a local file
        await migrate(f"sqlite+aiosqlite:///{empty}")
    shutil.copy(empty, path)
    url = f"sqlite+aiosqlite:///{path}"
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
