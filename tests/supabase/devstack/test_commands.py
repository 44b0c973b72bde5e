"""`interlock supabase start | status | reset | stop`, as somebody types them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE

pytestmark = pytest.mark.usefixtures("programs")


def command(home: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "VITE_"))}
    environment |= {"INTERLOCK_HOME": str(home), "INTERLOCK_SUPABASE_PORT": str(port), "INTERLOCK_SEED_SIZE": "5"}
    argv = [sys.executable, "-m", "interlock", *words]
    return subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, timeout=PATIENCE)


def said(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def test_it_starts_stays_is_reset_and_stops(folder: Path) -> None:
    port = free_port()
    shutil.rmtree(folder / "none", ignore_errors=True)
    assert command(folder, port, "supabase", "status").returncode == 3
    try:
        started = command(folder, port, "--json", "supabase", "start")
        assert started.returncode == 0, started.stderr
        found = said(started)
        assert found["url"] == f"http://127.0.0.1:{port}"
        assert set(found["parts"].values()) == {"ok"}
        assert "keys" not in found
        keys = json.loads(Path(found["keysIn"]).read_text())
        again = command(folder, port, "supabase", "start")
        assert again.returncode == 0
        assert keys["service_key"] not in again.stdout
        shown = command(folder, port, "--json", "supabase", "status", "--show-keys")
        assert said(shown)["keys"]["INTERLOCK_SUPABASE_ANON_KEY"] == keys["anon_key"]
        reset = command(folder, port, "--json", "supabase", "reset")
        assert reset.returncode == 0, reset.stderr
        assert set(said(reset)["parts"].values()) == {"ok"}
        assert json.loads(Path(found["keysIn"]).read_text()) == keys
    finally:
        stopped = command(folder, port, "supabase", "stop")
    assert (stopped.returncode, stopped.stdout) == (0, "stopped\n")
    assert command(folder, port, "supabase", "stop").stdout == "no local Supabase runs\n"


def test_a_taken_port_is_an_error_that_says_what_to_do(folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = command(folder, port, "supabase", "start")
    assert done.returncode == 2
    assert f"INTERLOCK_SUPABASE_PORT: port {port} is taken" in " ".join(done.stderr.split())
