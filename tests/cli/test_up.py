"""`interlock up`: it starts everything, says where, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from tests.patience import PATIENCE, until
from tests.running import Product, command, free_ports, started


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def test_it_starts_both_servers_and_stops_them(tmp_path: Path) -> None:
    with started(tmp_path) as product:
        family = psutil.Process(product.process.pid).children(recursive=True)
        assert len(family) == 2
        assert answers(f"{product.ready['gateway']}/readyz")
        assert answers(f"{product.ready['api']}/readyz")
        rows = product.json("status")
        assert {row["service"]: row["backend"] for row in rows}["customers"] == "mock"
        assert {row["health"] for row in rows} == {"healthy"}
        assert product.json("call", "customers.list", "limit=1")["items"]
        product.process.send_signal(signal.SIGINT)
        assert product.process.wait(PATIENCE) == 0
        assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
        assert not (tmp_path / ".interlock" / "run.json").exists()


def test_killed_outright_it_leaves_no_orphans(tmp_path: Path) -> None:
    with started(tmp_path) as product:
        family = psutil.Process(product.process.pid).children(recursive=True)
        product.process.kill()
        product.process.wait(PATIENCE)
        gone, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert len(gone) == 2
        assert not alive
    assert command(tmp_path, "switch", "customers", "sql").returncode == 3, (
        "what is left in the home folder fools nobody"
    )


def test_a_server_that_dies_ends_it_all(tmp_path: Path) -> None:
    with started(tmp_path) as product:
        family = psutil.Process(product.process.pid).children(recursive=True)
        family[0].kill()
        assert product.process.wait(PATIENCE) == 3
        assert product.process.stdout is not None
        assert "ended by itself" in product.process.stdout.read()
        assert not psutil.wait_procs(family, timeout=PATIENCE)[1]


@pytest.mark.parametrize("variable", ["INTERLOCK_PORT", "INTERLOCK_API_PORT"])
def test_a_taken_port_is_a_clear_error(tmp_path: Path, variable: str) -> None:
    (other,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = {"INTERLOCK_PORT": str(other), "INTERLOCK_API_PORT": str(other), variable: str(port)}
        done = command(tmp_path, "up", env=env)
    assert done.returncode == 2
    assert (
        f"{variable}: 127.0.0.1:{port} is taken by another program; stop that program, or set {variable}" in done.stderr
    )


def test_the_same_port_twice_is_a_clear_error(tmp_path: Path) -> None:
    done = command(tmp_path, "up", env={"INTERLOCK_PORT": "5137"})
    assert done.returncode == 2
    assert "INTERLOCK_API_PORT: is 5137 as INTERLOCK_PORT is" in done.stderr


def test_a_second_one_in_the_same_home_is_refused(tmp_path: Path) -> None:
    with started(tmp_path) as product:
        done = product.run("up")
    assert done.returncode == 2
    assert f"process {product.process.pid} already runs out of" in done.stderr


def test_a_bad_configuration_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("INTERLOCK_PORT=x\nVITE_API_MODE=fake\n")
    done = command(tmp_path, "up")
    assert done.returncode == 2
    assert "INTERLOCK_PORT: 'x' is not a whole number" in done.stderr
    assert "VITE_API_MODE: 'fake' is not one of the choices" in done.stderr
    assert not (tmp_path / ".interlock").exists()


def served(product: Product, token: str) -> dict[str, str]:
    """Who serves what, asked over HTTP: the command line would refuse the spoiled configuration as well."""
    request = urllib.request.Request(
        f"{product.ready['gateway']}/api/v1/_status", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
        return {row["service"]: row["backend"] for row in json.load(reply)}


def backend_of(product: Product, service: str) -> str:
    return next(str(row["backend"]) for row in product.json("status") if row["service"] == service)


def test_an_edited_file_switches_services_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "interlock.toml"
    log = tmp_path / ".interlock" / "logs" / "gateway.log"
    with started(tmp_path) as product:
        config.write_text('[backends]\ncustomers = "sql"\nsales = "real"\n')
        until(lambda: backend_of(product, "customers") == "sql", "customers stayed on mock")
        assert backend_of(product, "sales") == "real"
        assert backend_of(product, "tickets") == "mock"
        token = product.run("token").stdout.strip()
        config.write_text('rate_limit = "x"\n[backends]\ncustomers = "fake"\nsales = "mock"\n')
        until(lambda: "'fake' is no backend" in log.read_text(), "nothing was said of the wrong backend")
        until(lambda: "'x' is not a whole number" in log.read_text(), "nothing was said of the wrong number")
        now = served(product, token)
        assert (now["customers"], now["sales"]) == ("sql", "real")
        config.write_text("")
        until(lambda: backend_of(product, "customers") == "mock", "customers stayed on sql")
        assert backend_of(product, "sales") == "mock"


def test_a_hang_up_reads_the_configuration_again(tmp_path: Path) -> None:
    log = tmp_path / ".interlock" / "logs" / "gateway.log"
    with started(tmp_path) as product:
        product.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration read again" in log.read_text(), "the configuration was not read again")
        assert product.process.poll() is None


def test_serve_serves_the_reference_api_and_stops(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    env = {"INTERLOCK_API_PORT": str(port)}
    assert command(tmp_path, "seed", "--size", "3", env=env).returncode == 0
    with subprocess.Popen(
        [sys.executable, "-m", "interlock", "serve", "--api"],
        cwd=tmp_path,
        env={**os.environ, **env},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), "it never got ready")
            done = command(tmp_path, "--json", "status", env=env)
            assert '"sql"' in done.stdout
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
