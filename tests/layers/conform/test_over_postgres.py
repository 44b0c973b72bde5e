"""Each layer alone, and all of them, over sql on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.test_sql_postgres import opened, server
from tests.layers.conform.binding import Alone, Everything, alone, everything, redis

from interlock.backends.sql import SqlBackend
from interlock.testing.servers import PostgresServer

__all__ = ["alone", "everything", "redis", "server"]


@pytest.fixture(scope="module")
async def inner_backend(server: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(server)
    yield backend
    await backend.aclose()


@pytest.fixture(scope="module")
async def other_backend(server: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(server)
    yield backend
    await backend.aclose()


class TestAlone(Alone):
    """What a layer could disturb."""


class TestEverything(Everything):
    """In the product's own order."""
