"""The product, started as a reader starts it, in a scratch folder and on free ports."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Product(NamedTuple):
    folder: Path
    env: Mapping[str, str]
    ports: Mapping[str, str]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def scratch(parent: Path) -> Path:
    """A clone, as far as the documentation needs one, with the shared data beside it where there is any."""
    folder = parent / "main"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shared = ROOT.parent / "shared" / "data"
    if shared.is_dir():
        (parent / "shared").mkdir()
        (parent / "shared" / "data").symlink_to(shared)
    return folder


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder = scratch(tmp_path_factory.mktemp("docs"))
    port, api_port = free_ports(2)
    env = {
        "INTERLOCK_PORT": str(port),
        "INTERLOCK_API_PORT": str(api_port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "NO_COLOR": "1",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "interlock", "--json", "up"],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert '"ready"' in ready, ready + process.stdout.read()
            yield Product(folder, env, {"8000": str(port), "5137": str(api_port)})
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
