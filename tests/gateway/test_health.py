"""The health endpoints: who is told what, with which status, and what asking costs the backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.conftest import PREFIX, Gateway, opened

from interlock.abilities import Health
from interlock.contract import Request, Response
from interlock.errors import Unavailable
from interlock.gateway.health import WORDS
from interlock.health.report import STATUS_OF
from interlock.router import Route

pytestmark = pytest.mark.anyio


class Sick:
    """A backend that is away, in words that nobody outside should hear."""

    def __init__(self) -> None:
        self.probes = 0
        self.well = False
        self.hangs = False

    async def probe(self, timeout: float = 2.0) -> Health:
        self.probes += 1
        if self.hangs:
            await asyncio.get_running_loop().create_future()
        return Health(self.well, 0.001, "no route to db7.secret.example:5432")

    async def handle(self, request: Request) -> Response:
        raise Unavailable("no route to db7.secret.example:5432")


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Gateway]:
    """With a cache whose old answers may stand in."""
    async for found in opened(tmp_path, api_mode="sql", cache=True, cache_stale=60.0):
        yield found


def put(gateway: Gateway, backend: Sick, service: str = "customers") -> None:
    router = gateway.app.router
    router.publish(Route(service, "far", backend, router.next_epoch()))


async def test_one_backend_away_makes_the_process_unready_and_not_dead(gateway: Gateway) -> None:
    put(gateway, Sick())
    nobody = gateway.bearer(None)
    found = {path: await nobody.get(path) for path in ("/livez", "/startupz", "/readyz", "/health")}
    assert {path: answer.status_code for path, answer in found.items()} == {
        "/livez": 200,
        "/startupz": 200,
        "/readyz": 503,
        "/health": 503,
    }
    assert found["/readyz"].json() == {
        "status": "fail",
        "serviceId": "interlock-gateway",
        "output": "not answering: far",
    }
    body = found["/health"].json()
    assert body["output"] == "customers on far: its backend does not answer as it should"
    checks = body["checks"]
    assert checks["far:responseTime"][0]["status"] == "fail"
    assert checks["mock:responseTime"][0]["status"] == "pass"
    assert checks["customers:availability"][0]["observedValue"] == "unhealthy"
    assert checks["sales:availability"][0]["status"] == "pass"
    assert "customers" in checks["far:responseTime"][0]["services"]
    for answer in found.values():
        assert answer.headers["content-type"] == "application/health+json"
        assert answer.headers["cache-control"] == "no-store"
        assert "secret" not in answer.text


async def test_it_has_the_shape_of_the_draft(kept: Gateway) -> None:
    body = (await kept.bearer(None).get("/health")).json()
    assert body["status"] in ("pass", "warn", "fail")
    for key, found in body["checks"].items():
        assert key == "uptime" or key.count(":") == 1
        for check in found:
            assert datetime.fromisoformat(check["time"]).tzinfo is not None
            assert check.get("status", "pass") in ("pass", "warn", "fail")
            assert check["componentType"] in ("component", "datastore", "system")
    assert body["checks"]["customers:breaker"][0]["observedValue"] == "closed"
    assert body["checks"]["customers:calls"][0]["observedUnit"] == "calls"


async def test_whoever_asks_cannot_make_the_backends_work(gateway: Gateway) -> None:
    sick = Sick()
    put(gateway, sick)
    nobody = gateway.bearer(None)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(nobody.get(path) for path in ("/readyz", "/health") for _ in range(100)))
    passed = asyncio.get_running_loop().time() - began
    assert 1 <= sick.probes <= 1 + passed / 1.5


async def test_liveness_asks_nobody(gateway: Gateway) -> None:
    sick = Sick()
    put(gateway, sick)
    for path in ("/livez", "/startupz"):
        await gateway.bearer(None).get(path)
    assert sick.probes == 0


async def test_it_is_ready_and_warns_while_kept_answers_stand_in(kept: Gateway) -> None:
    app = kept.app
    route = app.router.route("customers")
    pipeline: Any = app._pipelines.of(route)
    backend: Any = route.backend
    backend.probe = Sick().probe
    nobody = kept.bearer(None)
    assert pipeline.describe()["cache"]["stale"] == 60.0
    ready = await nobody.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "warn")
    checks = (await nobody.get("/health")).json()["checks"]
    assert checks["customers:availability"][0]["observedValue"] == "stands_in"
    assert checks["users:availability"][0]["status"] == "fail"


async def test_a_process_that_stops_is_alive_and_not_ready(gateway: Gateway) -> None:
    gateway.edge.stopping.set()
    nobody = gateway.bearer(None)
    assert (await nobody.get("/livez")).status_code == 200
    ready = await nobody.get("/readyz")
    assert (ready.status_code, ready.json()["output"]) == (503, "stopping")


async def test_a_process_that_starts_is_alive_and_not_ready(gateway: Gateway) -> None:
    gateway.edge.started = False
    nobody = gateway.bearer(None)
    answers = [(await nobody.get(path)).status_code for path in ("/livez", "/startupz", "/readyz")]
    assert answers == [200, 503, 503]


async def test_no_tenant_s_data_is_in_it(gateway: Gateway) -> None:
    client = gateway.client()
    row = (await client.post(f"{PREFIX}/customers", json={"companyName": "Acme"})).json()
    for path in ("/readyz", "/health"):
        text = (await gateway.bearer(None).get(path)).text
        assert not [secret for secret in ("north", row["id"], "Acme", str(gateway.app.settings.home)) if secret in text]


async def test_a_parameter_or_a_head_makes_no_difference(gateway: Gateway) -> None:
    nobody = gateway.bearer(None)
    for path in ("/livez", "/readyz", "/health"):
        assert (await nobody.head(path)).status_code == 200


def test_every_reason_has_its_words() -> None:
    assert WORDS.keys() == STATUS_OF.keys()
