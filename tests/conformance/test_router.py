"""The services, through the router, with backends mixed in one session, pass the suite like a backend.

Samples are served by the real API over HTTP, as is the audit trail; the others by sql on SQLite and by the mock, whose audit entries
the relay hands on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from interlock.app import App
from interlock.backends.sql import migrate
from interlock.contract import Change, Identity, Outcome, Query, Request, Response
from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.errors import Conflict, Duplicate, NotFound
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.services import EntityService
from interlock.settings import Settings
from interlock.testing.conformance import BackendConformance, ChangesConformance, Subject
from interlock.testing.differential import DifferentialConformance
from interlock.testing.samples import LEDGER, SAMPLES, TEST_ENTITIES

ALL = (*ENTITIES, *TEST_ENTITIES)
OWN: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({SAMPLES: EntityService, LEDGER: EntityService})
ITEM_ERRORS = (NotFound, Conflict, Duplicate)


class ThroughServices:
    """Requests as calls of the typed services; what these do not have goes to the route itself."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def handle(self, request: Request) -> Response:
        if request.resource == "audit":
            await self.app.relay.flush()
        service = self._service(request.identity, request.resource)
        query = request.query or Query()
        match request.verb:
            case "find":
                page = await service.find(query)
                return Response(page.items, total=page.total, next_cursor=page.next_cursor)
            case "get":
                return Response(await service.get_many(request.ids, deleted=query.deleted))
            case "aggregate" if request.aggregate is not None:
                asked = request.aggregate
                groups = await service.aggregate(
                    asked.group_by, asked.measures, query.where, search=query.search, deleted=query.deleted
                )
                return Response(groups=groups)
        return await self._write(service, request)

    async def _write(self, service: EntityService[Any], request: Request) -> Response:
        operation, version = request.operation_id, request.expected_version
        ids, rows, patch = request.ids, request.rows, dict(request.patch or {})
        one = len(ids or rows) == 1
        match request.verb:
            case "create" if one:
                return await _single(rows[0].id, service.create(rows[0], operation_id=operation))
            case "create":
                return Response(outcomes=await service.bulk_create(rows, operation_id=operation))
            case "update" if one:
                call = service.update(ids[0], patch, expected_version=version, operation_id=operation)
                return await _single(ids[0], call)
            case "update" if version is None:
                return Response(outcomes=await service.bulk_update(ids, patch, operation_id=operation))
            case "delete" if one:
                call = service.delete(ids[0], expected_version=version, operation_id=operation)
                return await _single(ids[0], call)
            case "delete" if version is None:
                return Response(outcomes=await service.bulk_delete(ids, operation_id=operation))
            case "restore" if one:
                call = service.restore(ids[0], expected_version=version, operation_id=operation)
                return await _single(ids[0], call)
        return await self.app.router.route(service.entity.service).handle(request)

    def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        return self._service(identity, resource).changes(after)

    def _service(self, identity: Identity, resource: str) -> EntityService[Any]:
        return self.app.services(identity).of(resource)


async def _single(item: str, call: Awaitable[Any]) -> Response:
    try:
        return Response(outcomes=(Outcome(item, await call),))
    except ITEM_ERRORS as error:
        return Response(outcomes=(Outcome(item, error=error),))


@asynccontextmanager
async def mixed(folder: Path) -> AsyncIterator[Subject]:
    real, local = (f"sqlite+aiosqlite:///{folder / name}" for name in ("real.db", "local.db"))
    for url in (real, local):
        await migrate(url, ALL)
    limits: dict[str, Any] = {"home": folder, "environment": "test", "rate_limit": 0, "body_limit": 1 << 24}
    api = await App.open(Settings(api_mode="sql", database_url=real, **limits), own=OWN)
    async with serving(create_app(api)) as address:
        app = await App.open(
            Settings(api_mode="mock", database_url=local, api_base_url=f"{address}/api/v1", seed_size=0, **limits),
            own=OWN,
        )
        await app.switch_many(
            {"samples": "real", "audit": "real", "ledger_lines": "sql", "tickets": "sql", "sales": "sql"}
        )
        yield Subject(ThroughServices(app))
        await app.aclose()
    await api.aclose()


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Subject]:
    async with mixed(tmp_path_factory.mktemp("mixed")) as subject:
        yield subject


class TestRouter(BackendConformance, ChangesConformance, DifferentialConformance):
    @pytest.fixture
    def subject(self, shared: Subject) -> Subject:
        return shared

    @pytest.fixture
    async def another(self, tmp_path: Path) -> AsyncIterator[Subject]:
        async with mixed(tmp_path) as subject:
            yield subject
