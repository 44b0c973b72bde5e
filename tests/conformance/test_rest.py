"""The rest backend passes the suite over real HTTP to the gateway, which runs over sql on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import pytest

from interlock.app import App
from interlock.backends.rest import GatewayBackend, RestSettings
from interlock.backends.sql import migrate
from interlock.contract import Backend, Identity
from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.http import EngineName
from interlock.services import EntityService
from interlock.settings import Settings
from interlock.testing.conformance import (
    AccountsConformance,
    AuthConformance,
    BackendConformance,
    ChangesConformance,
    Connect,
    FilesConformance,
    Login,
    NativeErrorConformance,
    ProbesConformance,
    SignedUrlsConformance,
    Subject,
)
from interlock.testing.differential import DifferentialConformance
from interlock.testing.samples import LEDGER, SAMPLES, TEST_ENTITIES
from interlock.tokens import TokenIssuer

Enrol = Callable[[Backend], Awaitable[Login]]
ALL = (*ENTITIES, *TEST_ENTITIES)
OWN: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({SAMPLES: EntityService, LEDGER: EntityService})


class Tokens:
    """Tokens of the gateway's own issuer."""

    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        return self._issuer.mint(identity, 600)


@asynccontextmanager
async def real_api(folder: Path, enrol: Enrol, engine: EngineName) -> AsyncIterator[Subject]:
    url = f"sqlite+aiosqlite:///{folder / 'real.db'}"
    await migrate(url, ALL)
    settings = Settings(
        api_mode="sql",
        home=folder,
        database_url=url,
        environment="test",
        rate_limit=0,
        login_limit=0,
        body_limit=1 << 24,
    )
    app = await App.open(settings, own=OWN)
    login = await enrol(app.router.route("auth").backend)
    async with serving(create_app(app)) as address:
        backend = GatewayBackend(
            RestSettings(base_url=f"{address}/api/v1", engine=engine), ALL, tokens=Tokens(app.issuer)
        )
        yield Subject(backend, login=login)
        await backend.aclose()
    await app.aclose()


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory, enrol: Enrol) -> AsyncIterator[Subject]:
    async with real_api(tmp_path_factory.mktemp("real"), enrol, "pyreqwest") as subject:
        yield subject


class TestRest(
    BackendConformance,
    AccountsConformance,
    AuthConformance,
    ChangesConformance,
    FilesConformance,
    ProbesConformance,
    SignedUrlsConformance,
    DifferentialConformance,
):
    @pytest.fixture
    def subject(self, shared: Subject) -> Subject:
        return shared

    @pytest.fixture
    async def another(self, tmp_path: Path, enrol: Enrol) -> AsyncIterator[Subject]:
        async with real_api(tmp_path, enrol, "pyreqwest") as subject:
            yield subject


class TestRestNativeErrors(NativeErrorConformance):
    engine: ClassVar[EngineName] = "pyreqwest"

    @pytest.fixture
    def connect(self) -> Connect:
        @asynccontextmanager
        async def connected(url: str) -> AsyncIterator[Subject]:
            settings = RestSettings(base_url=f"{url}/api/v1", engine=self.engine, timeout=10)
            backend = GatewayBackend(settings, ALL, tokens=Tokens(TokenIssuer.new()))
            yield Subject(backend)
            await backend.aclose()

        return connected


class TestRestNativeErrorsWithAiohttp(TestRestNativeErrors):
    engine = "aiohttp"
