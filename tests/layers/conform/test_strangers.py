"""A cached reader and a foreign writer over real servers: each has a connection, or an application, of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tests.conformance.test_rest import ALL, OWN, Tokens
from tests.layers.conform.foreign import Reader, hears_of_strangers

from interlock.app import App
from interlock.backends.memory import MemoryBackend
from interlock.backends.rest import GatewayBackend, RestSettings
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Identity
from interlock.errors import InterlockError
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.settings import Settings
from interlock.testing.samples import SAMPLES
from interlock.testing.servers import PostgresServer

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def sql(url: str) -> AsyncIterator[SqlBackend]:
    backend = SqlBackend(url, ALL)
    await backend.open()
    yield backend
    await backend.aclose()


async def test_over_memory() -> None:
    memory = MemoryBackend(ALL)
    await hears_of_strangers(memory, memory)


async def test_over_sqlite_from_another_connection(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'both.db'}"
    await migrate(url, ALL)
    async with sql(url) as one, sql(url) as other:
        await hears_of_strangers(one, other)


async def test_over_postgres_from_another_connection(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    await migrate(url, ALL)
    async with sql(url) as one, sql(url) as other:
        await hears_of_strangers(one, other)


async def test_a_postgres_that_was_away_costs_all_that_was_kept(postgres: PostgresServer) -> None:
    with PostgresServer() as own:
        url = own.new_database()
        await migrate(url, ALL)
        async with sql(url) as one, sql(url) as other:
            reader = Reader(one)
            stranger = reader.past(other)
            row = await reader.caller.add(SAMPLES, label="x")
            await reader.established()
            await reader.warm(row.id)
            own.stop()
            own.start()
            await reader.told_of(None)
            reader.quiet()
            await reader.warm(row.id)
            changed = await stranger.change(row, SAMPLES, label="theirs")
            await reader.told_of(row.id)
            assert await reader.get(row.id) == (changed, False)
            await reader.pipeline.aclose()


@asynccontextmanager
async def api(folder: Path) -> AsyncIterator[tuple[App, str]]:
    url = f"sqlite+aiosqlite:///{folder / 'real.db'}"
    await migrate(url, ALL)
    settings = Settings(
        api_mode="sql", home=folder, database_url=url, environment="test", rate_limit=0, body_limit=1 << 24
    )
    app = await App.open(settings, own=OWN)
    async with serving(create_app(app)) as address:
        yield app, f"{address}/api/v1"
    await app.aclose()


async def test_over_rest_from_another_client_and_from_the_api_itself(tmp_path: Path) -> None:
    async with api(tmp_path) as (app, url), AsyncExitStack() as stay:
        one, other = (
            GatewayBackend(RestSettings(base_url=url), ALL, tokens=Tokens(app.issuer), name="real") for _ in range(2)
        )
        stay.push_async_callback(one.aclose)
        stay.push_async_callback(other.aclose)
        await hears_of_strangers(one, other)
        await hears_of_strangers(one, app.router.route("samples").backend)


async def test_an_api_that_does_not_know_our_system_is_read_all_the_same(tmp_path: Path) -> None:
    """Its tokens are its users' alone: nothing is heard, kept answers last their time, and nobody has an error."""

    class Users(Tokens):
        async def token(self, identity: Identity, *, refresh: bool = False) -> str:
            return "nobody's" if identity.role == "system" else await super().token(identity, refresh=refresh)

    async with api(tmp_path) as (app, url):
        backend = GatewayBackend(RestSettings(base_url=url), ALL, tokens=Users(app.issuer), name="real")
        reader = Reader(backend)
        row = await reader.caller.add(SAMPLES, label="x")
        await reader.warm(row.id)
        with pytest.raises(InterlockError):
            await anext(backend.changes("samples", Identity("system", reader.caller.identity.tenant_id, "system")))
        assert (reader.watcher.following, reader.watcher.live) == (1, 0)
        await reader.pipeline.aclose()
        await backend.aclose()
