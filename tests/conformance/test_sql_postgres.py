"""The sql backend on a real PostgreSQL passes the suite without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from interlock.backends.sql import SqlBackend, migrate
from interlock.entities import ENTITIES
from interlock.testing.conformance import (
    BackendConformance,
    ChangesConformance,
    FilesConformance,
    ForwardingConformance,
    ProbesConformance,
    Subject,
)
from interlock.testing.differential import DifferentialConformance
from interlock.testing.samples import TEST_ENTITIES
from interlock.testing.servers import PostgresServer

ALL = (*ENTITIES, *TEST_ENTITIES)


async def opened(postgres: PostgresServer) -> SqlBackend:
    url = postgres.new_database()
    await migrate(url, ALL)
    backend = SqlBackend(url, ALL)
    await backend.open()
    return backend


@pytest.fixture(scope="module")
async def shared(postgres: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(postgres)
    yield backend
    await backend.aclose()


class TestPostgres(
    BackendConformance,
    ChangesConformance,
    FilesConformance,
    ForwardingConformance,
    ProbesConformance,
    DifferentialConformance,
):
    @pytest.fixture
    def subject(self, shared: SqlBackend) -> Subject:
        return Subject(shared)

    @pytest.fixture
    async def another(self, postgres: PostgresServer) -> AsyncIterator[Subject]:
        backend = await opened(postgres)
        yield Subject(backend)
        await backend.aclose()
