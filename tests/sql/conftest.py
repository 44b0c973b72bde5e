"""Databases for the sql backend's own tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.identifiers import new_id
from interlock.testing.servers import PostgresServer

Open = Callable[[str], Awaitable[SqlBackend]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/test.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens backends on migrated databases, and closes them after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(url: str) -> SqlBackend:
            await migrate(url)
            backend = SqlBackend(url, ENTITIES, poll_interval=0.02)
            stack.push_async_callback(backend.aclose)
            await backend.open()
            return backend

        yield open_one


@pytest.fixture
def me() -> Identity:
    """Somebody in a tenant of their own."""
    return Identity(new_id(), new_id(), "admin")
