"""The sql backend on SQLite passes the suite without a gap."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

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

ALL = (*ENTITIES, *TEST_ENTITIES)


async def opened(path: Path) -> SqlBackend:
    url = f"sqlite+aiosqlite:///{path}"
    await migrate(url, ALL)
    backend = SqlBackend(url, ALL)
    await backend.open()
    return backend


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SqlBackend]:
    backend = await opened(tmp_path_factory.mktemp("sqlite") / "shared.db")
    yield backend
    await backend.aclose()


class TestSqlite(
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
    async def another(self, tmp_path: Path) -> AsyncIterator[Subject]:
        backend = await opened(tmp_path / "another.db")
        yield Subject(backend)
        await backend.aclose()
