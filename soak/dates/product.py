"""The product's own processes while a moment passes. Not collected by itself: it is run under a clock that is moved."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from tests.running import Product, started

from interlock.devstack import running
from interlock.embedded import seed_supabase
from interlock.identifiers import new_id
from interlock.seed import DEMO_PASSWORD
from interlock.services.rules import add_months
from interlock.settings import LocalSupabase, Settings

MOMENT = float(os.environ["CLOCK_MOMENT"])
BACKEND = os.environ["CLOCK_BACKEND"]
SERVICES = ("CUSTOMERS", "CONTRACTS", "SALES", "TICKETS")


class Client:
    """A client of the gateway who is logged in."""

    def __init__(self, product: Product) -> None:
        self.url = f"{product.ready['gateway']}/api/v1"
        self.session: dict[str, Any] = {}

    def post(self, path: str, body: dict[str, Any], operation_id: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Idempotency-Key": operation_id or new_id()}
        if self.session:
            headers["Authorization"] = f"Bearer {self.session['accessToken']}"
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log_in(self, path: str, body: dict[str, Any]) -> None:
        self.session = self.post(path, body)
        assert 0 < self.session["expiresIn"] <= 3600


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


class Work:
    """What a clock decides, asked of the product over HTTP. The same work again, under the same keys, changes nothing."""

    def __init__(self, client: Client, customer: str) -> None:
        self.client = client
        self.customer = customer
        self.key = new_id()

    def do(self) -> dict[str, Any]:
        post = self.client.post
        stages = post("/sales/actions/create_default_stages", {})
        won = next(stage["id"] for stage in stages if stage["type"] == "won")
        stage = next(stage["id"] for stage in stages if stage["type"] == "open")
        draft = self._contract("draft", status="draft")
        old = self._contract("old", status="expired", startDate="2020-01-01", endDate="2021-01-01")
        ticket = post("/tickets", {"subject": "T"}, f"{self.key}/ticket")
        deal = post(
            "/deals", {"title": "D", "customerId": self.customer, "stageId": stage, "amount": "5"}, f"{self.key}/deal"
        )
        return {
            "begun": self._contract("begun", status="active"),
            "ended": post("/contracts/actions/terminate", {"id": draft["id"]}, f"{self.key}/ended"),
            "renewed": post("/contracts/actions/renew", {"id": old["id"]}, f"{self.key}/renewed"),
            "resolved": post("/tickets/actions/resolve", {"id": ticket["id"]}, f"{self.key}/resolved"),
            "won": post("/sales/actions/move", {"id": deal["id"], "stageId": won}, f"{self.key}/won"),
        }

    def _contract(self, name: str, **fields: str) -> Any:
        body = {"customerId": self.customer, "title": name, **fields}
        return self.client.post("/contracts", body, f"{self.key}/{name}")


def done(client: Client, customer: str) -> tuple[Work, dict[str, Any]]:
    """New work, and its answers, which must be of the time that it took."""
    work, began = Work(client, customer), datetime.now(UTC)
    made = work.do()
    ended = datetime.now(UTC)
    first, last = began.date(), ended.date()
    assert str(first) <= made["begun"]["startDate"] <= str(last)
    assert str(first) <= made["ended"]["endDate"] <= str(last)
    assert str(first) <= made["won"]["expectedClose"] <= str(last)
    assert str(add_months(first, 12)) <= made["renewed"]["endDate"] <= str(add_months(last, 12))
    assert began <= at(made["resolved"]["resolvedAt"]) <= ended
    for row in made.values():
        assert began <= at(row["createdAt"]) <= at(row["updatedAt"]) <= ended
    return work, made


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """What puts the product on the backend; a Supabase is one of this process, whose PostgREST bears the moved clock."""
    if BACKEND != "supabase":
        yield {f"INTERLOCK_{service}_BACKEND": BACKEND for service in SERVICES}
        return
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running(tmp_path / "supabase")) as stack,
    ):
        local = LocalSupabase(1, stack.url, stack.anon_key, stack.service_key, stack.jwt_secret)
        portal.call(seed_supabase, Settings(home=tmp_path / "home", seed_size=5).at_local_supabase(local))
        yield {
            "INTERLOCK_API_MODE": "supabase",
            "INTERLOCK_SUPABASE_URL": stack.url,
            "INTERLOCK_SUPABASE_ANON_KEY": stack.anon_key,
            "INTERLOCK_SUPABASE_SERVICE_KEY": stack.service_key,
            "INTERLOCK_SUPABASE_JWT_SECRET": stack.jwt_secret,
        }


def test_a_log_in_and_what_it_makes_go_on(tmp_path: Path, settings: Mapping[str, str]) -> None:
    tmp_path.chmod(0o711)
    with started(tmp_path, INTERLOCK_SEED_SIZE="5", **settings) as product:
        client = Client(product)
        client.log_in("/auth/login", {"email": "admin@acme.test", "password": DEMO_PASSWORD})
        customer = client.post("/customers", {"companyName": "A"})["id"]
        work, before = done(client, customer)
        time.sleep(max(0.0, MOMENT - 1.5 - time.time()))
        while time.time() < MOMENT + 0.5:
            done(client, customer)
        assert work.do() == before
        done(client, customer)
        assert client.post("/customers", {"companyName": "B"})["id"] > customer
        client.log_in("/auth/refresh", {"refreshToken": client.session["refreshToken"]})
        done(client, customer)
        month = {row["month"] for row in product.json("call", "dashboard.revenue_by_month", "months=1")}
        assert month == {f"{datetime.now(UTC):%Y-%m}"}
        today = datetime.now(UTC).date()
        for days in (-1, 0, 30, 31):
            body = {"customerId": customer, "title": str(days), "status": "active", "startDate": "2020-01-01"}
            client.post("/contracts", {**body, "endDate": str(today + timedelta(days=days))})
        due = client.post("/contracts/actions/expiring", {"days": 30, "limit": 1000})["items"]
        assert [row["title"] for row in due if row["customerId"] == customer] == ["0", "30"]
