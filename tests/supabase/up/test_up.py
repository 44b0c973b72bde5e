"""The product with services on a local Supabase: brought along by `up`, or started before it, or named and not there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.guide import MIX, guide_file
from tests.patience import PATIENCE
from tests.running import command, free_ports, started

from interlock.app import App
from interlock.devstack.programs import find_programs
from interlock.errors import Misconfigured
from interlock.settings import LocalSupabase, Settings


@pytest.fixture(autouse=True)
def servers(missing: Callable[[str], None]) -> None:
    try:
        find_programs()
    except Misconfigured as error:
        missing(str(error))


def a_port() -> str:
    return str(free_ports(1)[0])


def processes_of(folder: Path) -> list[str]:
    """The processes whose command line or folder is inside."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = os.readlink(process / "cwd")
        except OSError:
            continue
        if str(folder) in line or where.startswith(str(folder)):
            found.append(f"{process.name} {line}")
    return found


def test_up_brings_it_with_demo_data_and_takes_it_away(tmp_path: Path) -> None:
    port = a_port()
    with started(tmp_path, INTERLOCK_SALES_BACKEND="supabase", INTERLOCK_SUPABASE_PORT=port) as product:
        home = tmp_path / ".interlock"
        local = LocalSupabase.found(home)
        assert local is not None
        assert local.url == f"http://127.0.0.1:{port}"
        assert stat.S_IMODE((home / "supabase.json").stat().st_mode) == 0o600
        backends = {row["service"]: row["backend"] for row in product.json("status")}
        assert (backends["sales"], backends["customers"]) == ("supabase", "mock")
        deals = product.json("call", "sales.list", "limit=3")
        assert deals
        product.json("switch", "customers", "supabase")
        assert product.json("call", "customers.list", "limit=3")
        looked = product.run("doctor")
        assert looked.returncode == 0, looked.stdout
        said = json.dumps(product.ready) + looked.stdout + (home / "logs" / "gateway.log").read_text("utf-8")
        for secret in (local.anon_key, local.service_key, local.jwt_secret):
            assert secret not in said
        assert processes_of(tmp_path)
    assert not processes_of(tmp_path)
    assert LocalSupabase.found(home) is None
    assert not (home / "supabase.json").exists()


def test_the_guides_own_file_starts_everything(tmp_path: Path) -> None:
    shutil.copy(guide_file("guide.env"), tmp_path / ".env")
    with started(tmp_path, True, INTERLOCK_SUPABASE_PORT=a_port()) as product:
        backends = {row["service"]: row["backend"] for row in product.json("status")}
        assert backends == MIX
        said = product.said
        assert "VITE_SUPABASE_URL, VITE_SUPABASE_ANON_KEY, VITE_SUPABASE_SERVICE_KEY: not filled in" in said
        assert f"a local Supabase on http://127.0.0.1:{product.ports['54321']}" in said
        assert f"the real API on http://127.0.0.1:{product.ports['5137']}" in said
        assert product.json("call", "customers.list", "limit=3")
        assert product.json("call", "sales.list", "limit=3")
    assert not processes_of(tmp_path)


def test_a_second_start_finds_what_the_first_one_left(tmp_path: Path) -> None:
    settings = {"INTERLOCK_API_MODE": "supabase", "INTERLOCK_SEED_SIZE": "5"}
    with started(tmp_path, **settings, INTERLOCK_SUPABASE_PORT=a_port()) as product:
        made = product.json("call", "customers.create", "company_name=Nordwind")
        before = product.json("call", "sales.list", "limit=100")
    with started(tmp_path, **settings, INTERLOCK_SUPABASE_PORT=a_port()) as product:
        assert product.json("call", "customers.get", made["id"])["companyName"] == "Nordwind"
        assert len(product.json("call", "sales.list", "limit=100")) == len(before)


def test_a_signal_while_it_starts_ends_all(tmp_path: Path) -> None:
    port, gateway, api = free_ports(3)
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", "up"],
        cwd=tmp_path,
        env={
            **os.environ,
            "INTERLOCK_API_MODE": "supabase",
            "INTERLOCK_SUPABASE_PORT": str(port),
            "INTERLOCK_PORT": str(gateway),
            "INTERLOCK_API_PORT": str(api),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    logs = tmp_path / ".interlock" / "supabase" / "logs"
    while not logs.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert "stopped" in said
    assert not processes_of(tmp_path)
    assert not (tmp_path / ".interlock" / "supabase.json").exists()


def test_a_taken_port_is_named_and_nothing_stays(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = str(holder.getsockname()[1])
        gateway, api = free_ports(2)
        env = {
            "INTERLOCK_API_MODE": "supabase",
            "INTERLOCK_SUPABASE_PORT": taken,
            "INTERLOCK_PORT": str(gateway),
            "INTERLOCK_API_PORT": str(api),
        }
        done = command(tmp_path, "up", env=env)
    assert done.returncode == 2
    assert "INTERLOCK_SUPABASE_PORT" in done.stdout + done.stderr
    assert not processes_of(tmp_path)


def test_a_service_is_switched_to_a_supabase_that_was_started_beside_it(tmp_path: Path) -> None:
    port = a_port()
    with started(tmp_path, INTERLOCK_SUPABASE_PORT=port) as product:
        refused = product.run("switch", "customers", "supabase")
        assert refused.returncode != 0
        assert "interlock supabase start" in refused.stdout + refused.stderr
        begun = product.run("supabase", "start")
        try:
            assert begun.returncode == 0, begun.stdout + begun.stderr
            product.json("switch", "customers", "supabase")
            assert product.json("call", "customers.list", "limit=3")
            product.json("switch", "customers", "mock")
        finally:
            product.run("supabase", "stop")
    assert not processes_of(tmp_path)


@pytest.mark.anyio
async def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("interlock.backends.supabase", "supabase_auth"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "supabase_auth", None)
    settings = Settings(home=tmp_path, api_mode="supabase", supabase_url="http://127.0.0.1:9", supabase_anon_key="key")
    with pytest.raises(Misconfigured, match=r"pip install 'interlock\[supabase\]'"):
        await App.open(settings)


@pytest.mark.anyio
async def test_all_that_is_not_set_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        await App.open(Settings(home=tmp_path, api_mode="supabase"))
    names = [problem.partition(":")[0] for problem in caught.value.problems]
    assert names == ["INTERLOCK_SUPABASE_URL", "INTERLOCK_SUPABASE_ANON_KEY"]


@pytest.mark.anyio
async def test_a_project_that_is_not_there_opens_and_is_unhealthy(tmp_path: Path) -> None:
    """As a real API that is down: the program starts, and says so."""
    settings = Settings(
        home=tmp_path, api_mode="mock", seed_size=0, supabase_url="http://127.0.0.1:9", supabase_anon_key="key"
    )
    app = await App.open(settings.model_copy(update={"backends": {"sales": "supabase"}}))
    try:
        health = {row.service: row.health for row in await app.status()}
        assert (health["sales"], health["customers"]) == ("unhealthy", "healthy")
    finally:
        await app.aclose()
