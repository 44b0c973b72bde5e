"""All layers together over sql on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.test_sql_sqlite import opened
from tests.layers.conform.binding import Everything, backends, everything

from interlock.backends.sql import SqlBackend

__all__ = ["backends", "everything"]


@pytest.fixture(scope="module")
async def inner_backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SqlBackend]:
    backend = await opened(tmp_path_factory.mktemp("sqlite") / "one.db")
    yield backend
    await backend.aclose()


@pytest.fixture(scope="module")
async def other_backend(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SqlBackend]:
    backend = await opened(tmp_path_factory.mktemp("sqlite") / "another.db")
    yield backend
    await backend.aclose()


class TestEverything(Everything):
    """In the product's own order."""
