"""What `ops/` holds: Prometheus' own tool takes it, and every metric that it names is exported by a gateway that runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.patience import PATIENCE

from interlock.app import App
from interlock.contract import Identity
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.observability.metrics import ABOUT
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
OPS = ROOT / "ops"
RULES = OPS / "prometheus" / "alerts.yml"
DASHBOARD = OPS / "grafana" / "interlock.json"
PAGE = ROOT / "docs" / "observability.md"

OURS = re.compile(r"\b(?:interlock|http_server|process)_[a-z0-9_]+\b")
LABEL = re.compile(r"\{([^{}]*)\}")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing; run devstack/install.sh")
        pytest.skip("promtool is missing; run devstack/install.sh")
    return found


def checked(promtool: str, *words: str, stdin: str | None = None) -> None:
    done = subprocess.run(
        [promtool, *words],
        cwd=OPS / "prometheus",
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not stdin or not done.stderr, done.stderr


@pytest.fixture
async def exported(tmp_path: Path) -> AsyncIterator[str]:
    """The metrics of a gateway over a database with every layer on, after calls of each kind."""
    settings = Settings(
        home=tmp_path,
        environment="test",
        api_mode="sql",
        cache=True,
        dedup=True,
        batch=True,
        hedge=0.05,
        rate_limit=0,
        login_limit=0,
    )
    app = await App.open(settings)
    try:
        async with serving(create_app(app)) as url, httpx.AsyncClient(base_url=url, timeout=PATIENCE) as client:
            identity = Identity(new_id(), "north", "admin", "admin@north.test")
            client.headers["Authorization"] = f"Bearer {app.issuer.mint(identity, 600)}"
            assert (await client.post("/api/v1/customers", json={"companyName": "Acme"})).status_code == 201
            for _ in range(2):
                rows = (await client.get("/api/v1/customers")).json()
            await client.get(f"/api/v1/customers/{rows[0]['id']}")
            await client.get("/api/v1/customers/none")
            await app.switch("tickets", "mock")
            assert (await client.get("/health")).status_code == 200
            yield (await client.get("/metrics")).text
    finally:
        await app.aclose()


def samples(text: str) -> dict[str, set[str]]:
    """Every sample's name, with the names of the labels that it has anywhere."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[str]:
    yield from re.findall(r"^ +(?:- )?expr: (?:\|\n)?((?:.|\n(?= {10,}))+)", RULES.read_text("utf-8"), re.MULTILINE)

    def within(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for name, inner in value.items():
                if name in ("expr", "definition") and isinstance(inner, str):
                    yield inner
                else:
                    yield from within(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from within(inner)

    yield from within(json.loads(DASHBOARD.read_text("utf-8")))


def test_the_rules_and_the_configuration_are_taken(promtool: str) -> None:
    checked(promtool, "check", "rules", "alerts.yml")
    checked(promtool, "check", "config", "prometheus.yml")


def test_the_alerts_sound_when_they_should_and_only_then(promtool: str) -> None:
    checked(promtool, "test", "rules", "alerts_test.yml")


def test_every_alert_is_shown_to_sound() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))
    shown = re.findall(
        r"alertname: (\w+)\n +exp_alerts:\n", (OPS / "prometheus" / "alerts_test.yml").read_text("utf-8")
    )
    assert len(alerts) >= 12
    assert not set(alerts) - set(shown)


async def test_the_metrics_are_as_prometheus_would_have_them(promtool: str, exported: str) -> None:
    checked(promtool, "check", "metrics", stdin=exported)


async def test_what_rules_and_dashboard_name_is_exported(exported: str) -> None:
    found = samples(exported)
    named = {name for expression in expressions() for name in OURS.findall(expression)}
    assert len(named) > 20
    away = {"interlock_cache_bypassed"}  # only a cache that is shared has it: tests/observability/test_metrics.py
    assert sorted(named - set(found) - away) == []


async def test_labels_that_are_asked_for_are_there(exported: str) -> None:
    found = samples(exported)
    beside = {"job", "instance", "le"}  # Prometheus' own
    for expression in expressions():
        for name, chosen in re.findall(r"\b((?:interlock|http_server|process)_[a-z0-9_]+)\{([^{}]*)\}", expression):
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))
            assert name == "interlock_cache_bypassed" or asked <= found[name] | beside, (name, asked)


async def test_every_metric_is_exported_and_has_its_line_in_the_docs(exported: str) -> None:
    kinds = dict(re.findall(r"^# TYPE (\S+) (\w+)$", exported, re.MULTILINE))
    rows = dict(re.findall(r"^\| `((?:interlock|http)_\w+)` \| (\w+) \|", PAGE.read_text("utf-8"), re.MULTILINE))
    ours = {name: kind for name, kind in kinds.items() if not name.startswith("process_")}
    assert set(ABOUT) <= set(ours)
    assert rows == ours


async def test_the_labels_in_the_docs_are_those_exported(exported: str) -> None:
    found = samples(exported)
    rows = re.findall(r"^\| `((?:interlock|http)_\w+)` \| (\w+) \| ([^|]*) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    for name, kind, labels in rows:
        sample = f"{name}_count" if kind == "histogram" else name
        if sample in found:
            assert set(re.findall(r"`(\w+)`", labels)) == found[sample], name


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["type"] == "row" or (panel["targets"] and panel["description"])
