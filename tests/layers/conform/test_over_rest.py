"""All layers together over rest: real HTTP to a gateway over sql on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.conformance.conftest import Enrol, enrol
from tests.conformance.test_rest import real_api
from tests.layers.conform.binding import Everything, backends, everything

from interlock.contract import Backend

__all__ = ["backends", "enrol", "everything"]


@pytest.fixture(scope="module")
async def inner_backend(tmp_path_factory: pytest.TempPathFactory, enrol: Enrol) -> AsyncIterator[Backend]:
    async with real_api(tmp_path_factory.mktemp("real"), enrol, "pyreqwest") as subject:
        yield subject.backend


@pytest.fixture(scope="module")
async def other_backend(tmp_path_factory: pytest.TempPathFactory, enrol: Enrol) -> AsyncIterator[Backend]:
    async with real_api(tmp_path_factory.mktemp("real"), enrol, "pyreqwest") as subject:
        yield subject.backend


class TestEverything(Everything):
    """In the product's own order."""
