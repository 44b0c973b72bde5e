"""All layers together over sql on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.test_sql_postgres import opened
from tests.layers.conform.binding import Everything, backends, everything

from interlock.backends.sql import SqlBackend
from interlock.testing.servers import PostgresServer

__all__ = ["backends", "everything"]


@pytest.fixture(scope="module")
async def inner_backend(postgres: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(postgres)
    yield backend
    await backend.aclose()


@pytest.fixture(scope="module")
async def other_backend(postgres: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(postgres)
    yield backend
    await backend.aclose()


class TestEverything(Everything):
    """In the product's own order."""
