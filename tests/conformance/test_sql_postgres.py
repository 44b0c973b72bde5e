"""The sql backend on a real PostgreSQL passes the suite without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

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
from interlock.testing.servers import PostgresServer, ServerMissing

ALL = (*ENTITIES, *TEST_ENTITIES)


@pytest.fixture(scope="module")
def server(missing: Callable[[str], None]) -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except ServerMissing as error:
        missing(str(error))
        raise
    with server:
        yield server


async def opened(server: PostgresServer) -> SqlBackend:
    url = server.new_database()
    await migrate(url, ALL)
    backend = SqlBackend(url, ALL)
    await backend.open()
    return backend


@pytest.fixture(scope="module")
async def shared(server: PostgresServer) -> AsyncIterator[SqlBackend]:
    backend = await opened(server)
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
    async def another(self, server: PostgresServer) -> AsyncIterator[Subject]:
        backend = await opened(server)
        yield Subject(backend)
        await backend.aclose()
