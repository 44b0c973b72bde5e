"""Services over memory, for two tenants, and the real data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Identity
from interlock.entities import CUSTOMERS, ENTITIES
from interlock.entities.customer import Customer
from interlock.entity import Entity
from interlock.router import Route, Router
from interlock.services.base import EntityService
from interlock.testing.samples import TEST_ENTITIES

SHARED = Path(__file__).parents[3] / "shared" / "data"


class Caller:
    """One caller of an application that has a single backend."""

    def __init__(self, backend: Any, entities: Mapping[str, Entity[Any]], tenant: str) -> None:
        self.identity = Identity("0190d2f1-0000-7000-8000-000000000001", tenant, "admin")
        self.entities = entities
        self.session = None
        self.services: Any = self
        self._router = Router()
        for service in {entity.service for entity in entities.values()}:
            self._router.publish(Route(service, "mock", backend, 1))

    def now(self) -> datetime:
        return datetime.now(UTC)

    def adopt(self, session: Any) -> None:
        raise AssertionError("nobody logs in here")

    references_checked = False

    async def written(self, *told: object) -> None:
        """The trail is not looked at here."""

    def route(self, service: str) -> Route:
        return self._router.route(service)

    def of(self, resource: str) -> EntityService[Any]:
        return EntityService(self.entities[resource], self)


@pytest.fixture
def call() -> Callable[..., EntityService[Any]]:
    """`call(SAMPLES, tenant="globex")`: a service over one memory backend, fresh for each test."""
    entities = {entity.resource: entity for entity in (*ENTITIES, *TEST_ENTITIES)}
    backend = MemoryBackend(tuple(entities.values()))

    def build(entity: Entity[Any], tenant: str = "acme") -> EntityService[Any]:
        return EntityService(entity, Caller(backend, entities, tenant))

    return build


@pytest.fixture
def customers(call: Callable[..., EntityService[Any]]) -> EntityService[Customer]:
    return call(CUSTOMERS)


@pytest.fixture
def shared() -> Path:
    """The folder of real data; tests that read it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data is not here")
    return SHARED
