"""The sql backend passes the suite on SQLite and on PostgreSQL without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from interlock.backends.sql import SqlBackend, migrate
from interlock.entities import ENTITIES
from interlock.testing.conformance import BackendConformance, Subject
from interlock.testing.samples import TEST_ENTITIES
from interlock.testing.servers import PostgresServer, ServerMissing

ALL = (*ENTITIES, *TEST_ENTITIES)


@pytest.fixture(scope="module")
def postgres(missing: Callable[[str], None]) -> Iterator[PostgresServer]:
    """One PostgreSQL for the module."""
    try:
        server = PostgresServer()
    except ServerMissing as error:
        missing(str(error))
        raise
    with server:
        yield server


async def opened(url: str) -> SqlBackend:
    await migrate(url, ALL)
    backend = SqlBackend(url, ALL)
    await backend.open()
    return backend


class TestSqlite(BackendConformance):
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("sqlite")

    @pytest.fixture
    async def subject(self, folder: Path) -> AsyncIterator[Subject]:
        backend = await opened(f"sqlite+aiosqlite:///{folder}/one.db")
        yield Subject(backend)
        await backend.aclose()

    @pytest.fixture
    async def another(self, folder: Path) -> AsyncIterator[Subject]:
        backend = await opened(f"sqlite+aiosqlite:///{folder}/another.db")
        yield Subject(backend)
        await backend.aclose()


class TestPostgres(BackendConformance):
    @pytest.fixture(scope="class")
    def databases(self, postgres: PostgresServer) -> tuple[str, str]:
        return postgres.new_database(), postgres.new_database()

    @pytest.fixture
    async def subject(self, databases: tuple[str, str]) -> AsyncIterator[Subject]:
        backend = await opened(databases[0])
        yield Subject(backend)
        await backend.aclose()

    @pytest.fixture
    async def another(self, databases: tuple[str, str]) -> AsyncIterator[Subject]:
        backend = await opened(databases[1])
        yield Subject(backend)
        await backend.aclose()
