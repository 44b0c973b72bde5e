"""Trying a whole set-up: everything that is wrong is a row, with its mend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from interlock.abilities import Health
from interlock.app import App
from interlock.contract import Request, Response
from interlock.entities import ENTITIES
from interlock.errors import RateLimited
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.health import validate_services
from interlock.router import Route
from interlock.settings import Settings

pytestmark = pytest.mark.anyio


async def opened(home: Path, **values: object) -> AsyncIterator[App]:
    app = await App.open(Settings(home=home, **{"seed_size": 0, "environment": "production", **values}))
    try:
        yield app
    finally:
        await app.aclose()


@pytest.mark.parametrize("backend", ["mock", "sql"])
async def test_a_good_set_up_has_no_problem(backend: str, tmp_path: Path) -> None:
    async for app in opened(tmp_path, api_mode=backend):
        report = await app.validate_services()
        assert report.ok, report.problems
        tried = {(row.service, row.what) for row in report.rows}
        assert {("auth", "log-in"), ("files", "files"), ("customers", "read tags"), ("dashboard", "reachable")} <= tried
        assert {row.service for row in report.rows} == set(app.service_names)


async def test_over_http_too(tmp_path: Path) -> None:
    async for api in opened(tmp_path, api_mode="sql", rate_limit=0):
        async with serving(create_app(api)) as address:
            async for app in opened(tmp_path, api_mode="real", api_base_url=f"{address}/api/v1"):
                report = await app.validate_services()
                assert report.ok, report.problems


async def test_one_that_trusts_other_keys_is_found(tmp_path: Path) -> None:
    async for api in opened(tmp_path / "one", api_mode="sql", rate_limit=0):
        async with serving(create_app(api)) as address:
            async for app in opened(tmp_path / "other", api_mode="real", api_base_url=f"{address}/api/v1"):
                problems = {(row.service, row.what): row for row in (await app.validate_services()).problems}
                assert ("customers", "read customers") in problems
                assert "jwks.json" in problems["customers", "read customers"].mend
                assert not {what for _, what in problems} & {"reachable", "log-in"}


async def test_one_that_is_away_is_a_row_for_each_service(tmp_path: Path) -> None:
    async for app in opened(tmp_path, api_mode="real", api_base_url="http://127.0.0.1:9/api/v1"):
        report = await app.validate_services()
        assert [row.what for row in report.rows] == ["reachable"] * 10
        assert not report.ok
        assert all("INTERLOCK_API_BASE_URL" in row.mend for row in report.rows)


async def test_a_missing_table_is_named_with_its_mend(tmp_path: Path) -> None:
    async for app in opened(tmp_path, api_mode="sql"):
        engine = create_async_engine(app.settings.sql_url)
        async with engine.begin() as connection:
            await connection.execute(sa.text("drop table tags"))
        await engine.dispose()
        (problem,) = (await app.validate_services()).problems
        assert (problem.service, problem.what, problem.mend) == ("customers", "read tags", "run interlock migrate")


class Odd:
    """A backend of somebody's own: it lets in everybody, and breaks its contract."""

    async def probe(self, timeout: float = 2.0) -> Health:
        return Health(True, 0.0)

    async def handle(self, request: Request) -> Response:
        if request.resource == "tags":
            raise RateLimited
        raise KeyError("secret")

    async def login(self, email: str, password: str) -> None:
        return None

    async def refresh(self, refresh_token: str) -> None:
        return None

    async def logout(self, session: object) -> None:
        return None


async def test_nothing_is_raised_whatever_the_backend_does() -> None:
    routes = {service: Route(service, "odd", Odd(), 1) for service in ("auth", "customers", "files")}
    report = await validate_services(routes, ENTITIES, services=("auth", "customers", "files", "sales"))
    assert [(row.service, row.what, row.problem) for row in report.problems] == [
        ("auth", "log-in", "it let in a user who does not exist"),
        ("customers", "read customers", "it raised KeyError, which is none of the contract's errors"),
        ("files", "files", "the backend 'odd' cannot do this: files needs StoresFiles"),
        ("files", "read files", "it raised KeyError, which is none of the contract's errors"),
        ("sales", "routed", "no backend serves it"),
    ]
    assert all(row.mend for row in report.problems)
    assert "secret" not in repr(report)
