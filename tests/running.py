"""The product as its own processes, in a folder and on free ports: for the tests of the command line and of the documentation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

from interlock.ports import free_port

__all__ = ["Product", "command", "free_ports", "started"]


@dataclass
class Product:
    """A product that runs: `ports` are the usual ones and those that it has here."""

    folder: Path
    env: Mapping[str, str]
    ports: Mapping[str, str]
    process: subprocess.Popen[str]
    ready: Mapping[str, Any]
    said: str = ""

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside it."""
        return command(self.folder, *words, env=self.env)

    def json(self, *words: str) -> Any:
        """What a command answers in JSON."""
        done = self.run("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def free_ports(count: int) -> list[int]:
    """Ports that nothing uses now."""
    found = dict.fromkeys(free_port() for _ in range(count))
    while len(found) < count:
        found[free_port()] = None
    return list(found)


def command(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "interlock", *words],
        cwd=folder,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1", **(env or {})},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@contextmanager
def started(folder: Path, plain: bool = False, /, **settings: str) -> Iterator[Product]:
    """`interlock up`, ready, and stopped by SIGTERM at the end unless it has ended already.

    `plain` has it speak to people instead of programs, and keeps what it `said` until it was ready.

    `{port}` and `{api_port}` in a setting stand for the ports that it gets.
    """
    port, api_port, supabase_port = free_ports(3)
    env = {
        "INTERLOCK_PORT": str(port),
        "INTERLOCK_API_PORT": str(api_port),
        "INTERLOCK_SUPABASE_PORT": str(supabase_port),
        "INTERLOCK_SEED_SIZE": "10",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "NO_COLOR": "1",
        **{name: value.format(port=port, api_port=api_port) for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "interlock", *([] if plain else ["--json"]), "up"],
        cwd=folder,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        last = "Ctrl-C" if plain else '"ready"'
        said = [process.stdout.readline()]
        while said[-1] and last not in said[-1]:
            said.append(process.stdout.readline())
        assert last in said[-1], "".join(said)
        ports = {"8000": str(port), "5137": str(api_port), "54321": env["INTERLOCK_SUPABASE_PORT"]}
        yield Product(folder, env, ports, process, {} if plain else json.loads(said[-1]), "".join(said))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        process.stdout.close()
