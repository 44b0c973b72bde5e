"""Control stores, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from interlock.control import ControlStore
from interlock.testing.servers import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/control.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[ControlStore]:
    """A store with a route for customers, on real, on its way to supabase."""
    store = await ControlStore.open(url)
    first = await store.put_route("customers", "real")
    assert await store.turn(first, stage="dualwrite", secondary="supabase")
    yield store
    await store.aclose()
