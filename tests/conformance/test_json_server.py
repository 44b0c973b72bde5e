"""npm's json-server, which nobody here wrote, under the suite: what it cannot do stands in one table.

On one engine: both are held to the dialect in `tests/rest`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance.json_server_gaps import GAPS
from tests.rest.servers import json_server

from interlock.backends.rest import JSON_SERVER, RestBackend, RestSettings
from interlock.entities import ENTITIES
from interlock.http import EngineName
from interlock.testing.conformance import BackendConformance, ProbesConformance, Subject
from interlock.testing.samples import TEST_ENTITIES

EVERY = (*ENTITIES, *TEST_ENTITIES)


@asynccontextmanager
async def subject(folder: Path, engine: EngineName) -> AsyncIterator[Subject]:
    async with json_server(folder, [entity.resource for entity in EVERY]) as url:
        backend = RestBackend(RestSettings(base_url=url, dialect=JSON_SERVER, engine=engine), EVERY, name="json_server")
        yield Subject(backend)
        await backend.aclose()


class TestJsonServer(BackendConformance, ProbesConformance):
    gaps = GAPS
    engine: EngineName = "pyreqwest"

    @pytest.fixture(scope="class")
    async def subject(self, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
        async with subject(tmp_path_factory.mktemp("json_server"), self.engine) as found:
            yield found

    @pytest.fixture
    async def another(self, tmp_path: Path) -> AsyncIterator[Subject]:
        async with subject(tmp_path, self.engine) as found:
            yield found
