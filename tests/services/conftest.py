"""Every rule is tested over memory, over a database, and through all layers.

TEST_WORLDS names other worlds to test over, of memory, sqlite, postgres and layers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.layers.conform.stacks import SETTINGS

from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES
from interlock.layers.invalidation import Invalidation
from interlock.layers.pipeline import Pipeline
from interlock.router import Route
from interlock.testing.servers import PostgresServer

from .harness import ALL, Clock, World

WORLDS = os.environ.get("TEST_WORLDS", "memory sqlite layers").split()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an empty database with this version's tables is, once the first test has made it; to copy."""
    return tmp_path_factory.mktemp("database") / "empty.db"


@pytest.fixture(scope="session")
def template() -> list[str]:
    """The name of a PostgreSQL database with this version's tables, once the first test has made it; to copy."""
    return []


@pytest.fixture(params=WORLDS)
async def world(
    request: pytest.FixtureRequest,
    clock: Clock,
    empty: Path,
    template: list[str],
    tmp_path: Path,
    anyio_backend: str,
) -> AsyncIterator[World]:
    if request.param == "memory":
        world = World(MemoryBackend(ENTITIES, clock=clock), clock)
        await world.populate()
        yield world
        return
    if request.param == "layers":
        async with layered(World(MemoryBackend(ENTITIES, clock=clock), clock)) as world:
            await world.populate()
            yield world
        return
    from interlock.backends.sql import SqlBackend, migrate

    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        if not template:
            await migrate(url := server.new_database())
            template.append(url.rpartition("/")[2])
        url = server.new_database(template[0])
    else:
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


@asynccontextmanager
async def layered(world: World) -> AsyncIterator[World]:
    """The world's services behind all layers, as the product puts them there."""
    told, epoch = Invalidation(), world.router.next_epoch()
    pipelines = {
        service: Pipeline(
            world.backend, service=service, name="test", settings=SETTINGS, told=told, watched=world.backend
        )
        for service in ALL
    }
    world.router.publish(
        *(Route(name, "test", world.backend, epoch, handle=pipeline.handle) for name, pipeline in pipelines.items())
    )
    yield world
    for pipeline in pipelines.values():
        await pipeline.aclose()


@pytest.fixture
async def memory(clock: Clock, anyio_backend: str) -> World:
    """For what does not depend on the backend."""
    world = World(MemoryBackend(ENTITIES, clock=clock), clock)
    await world.populate()
    return world
