"""Health, validation and warm-up at a real Supabase: what a ping does not see is a revoked grant or a missing table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.patience import PATIENCE

from interlock.app import App
from interlock.contract import Identity
from interlock.errors import Unavailable
from interlock.health import HealthMonitor, HealthSettings
from interlock.identifiers import new_id
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

ADMIN = Identity(new_id(), new_id(), "admin")


@pytest.fixture
async def app(stack: Any, tmp_path: Path) -> AsyncIterator[App]:
    """Customers on the mock, the rest on the project."""
    settings = Settings(
        home=tmp_path,
        seed_size=0,
        environment="production",
        api_mode="supabase",
        backends={"customers": "mock"},
        supabase_url=stack.url,
        supabase_anon_key=stack.anon_key,
        supabase_service_key=stack.service_key,
        supabase_jwt_secret=stack.jwt_secret,
        cache=True,
    )
    app = await App.open(settings)
    try:
        yield app
    finally:
        await app.aclose()


async def test_a_good_project_has_no_problem(app: App) -> None:
    report = await app.validate_services()
    assert report.ok, report.problems
    assert {row.what for row in report.rows if row.service == "auth"} == {"reachable", "log-in"}


async def test_a_revoked_grant_is_seen_and_not_switched_to_unseen(app: App, stack: Any) -> None:
    if not hasattr(stack, "owner_url"):
        pytest.skip("the project's grants are not ours to revoke")
    owner = await asyncpg.connect(stack.owner_url)
    monitor = HealthMonitor(
        lambda: app.router.table, app.entities.values(), HealthSettings(every=0.05, check_every=0.05)
    )

    async def until(status: str) -> Any:
        async with asyncio.timeout(PATIENCE):
            while True:
                report = await monitor.report()
                tickets = next(service for service in report.services if service.service == "tickets")
                if tickets.status == status:
                    return tickets
                await asyncio.sleep(0.05)

    try:
        while "tickets" not in monitor._checked:
            await until("pass")
        assert (await until("pass")).reason == "well"
        await owner.execute("revoke select on public.tickets from authenticated")
        lost = await until("fail")
        assert lost.reason == "refused"
        assert not lost.down
        (problem,) = (await app.validate_services()).problems
        assert (problem.service, problem.what) == ("tickets", "read tickets")
        assert problem.mend
    finally:
        await owner.execute("grant select on public.tickets to authenticated")
        await owner.close()
        await monitor.aclose()


async def test_a_switch_there_fills_the_cache(app: App) -> None:
    crm = app.services(ADMIN)
    await crm.customers.list(limit=5)
    done = await app.switch("customers", "supabase", ADMIN)
    assert (done.warm_up.reads, done.warm_up.failed) == (5, 0)
    assert (await crm.customers.list(limit=5)).cached


async def test_a_project_that_is_away_is_not_switched_to(tmp_path: Path) -> None:
    app = await App.open(
        Settings(home=tmp_path, seed_size=0, supabase_url="http://127.0.0.1:9", supabase_anon_key="anon")
    )
    try:
        with pytest.raises(Unavailable, match="nothing was switched"):
            await app.switch("customers", "supabase", ADMIN)
    finally:
        await app.aclose()
