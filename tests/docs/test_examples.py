"""The example of a service of one's own runs on every backend, and its rule holds on each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from examples.projects import OWN, PROJECTS, Projects
from tests.patience import PATIENCE

from interlock.app import App
from interlock.backends.sql import migrate
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.errors import Duplicate, Invalid, NotFound
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
ADA = Identity(new_id(), new_id(), "admin", "ada@example.com")


@pytest.fixture(params=["mock", "sqlite", "postgresql", "real"])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[App]:
    settings = Settings(home=tmp_path, api_mode="mock" if request.param == "mock" else "sql", seed_size=0)
    async with AsyncExitStack() as stack:
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres").new_database()
            await migrate(url, (*ENTITIES, PROJECTS))
            settings = Settings(home=tmp_path, api_mode="sql", database_url=url)
        app = await App.open(settings, own=OWN)
        stack.push_async_callback(app.aclose)
        if request.param == "real":
            base = await stack.enter_async_context(serving(create_app(app)))
            over_http = settings.model_copy(update={"api_mode": "real", "api_base_url": f"{base}/api/v1"})
            app = await App.open(over_http, own=OWN)
            stack.push_async_callback(app.aclose)
        yield app


async def test_a_service_of_ones_own_runs_on_every_backend(app: App) -> None:
    crm = app.services(ADA)
    projects = crm.of("projects")
    assert isinstance(projects, Projects)
    customer = await crm.customers.create(company_name="Brücke & Söhne")
    bridge = await projects.create(
        name="Bridge", customer_id=customer.id, budget=Decimal("125000.50"), due=date(2026, 1, 31)
    )
    assert (bridge.version, bridge.state, bridge.budget) == (1, "planned", Decimal("125000.50"))
    assert [each.name for each in await projects.late(date(2026, 2, 1))] == ["Bridge"]
    with pytest.raises(Duplicate):
        await projects.create(name="BRIDGE", customer_id=customer.id)
    with pytest.raises(Invalid, match="customer_id"):
        await projects.create(name="Tunnel", customer_id=new_id())
    await projects.finish(bridge.id)
    with pytest.raises(Invalid, match="is finished and stays as it is"):
        await projects.update(bridge.id, name="Tunnel")
    assert [entry.action for entry in await crm.audit.history("projects", bridge.id)] == ["create", "update"]
    stranger = app.services(Identity(new_id(), new_id(), "admin"))
    with pytest.raises(NotFound):
        await stranger.of("projects").get(bridge.id)


def test_the_example_runs_as_a_program(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "projects.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == ("late: Bridge; then: state: Bridge is finished and stays as it is; make a new project\n"), (
        done.stderr
    )
