"""A program that configures no log gets none from the library, not even of every call; one that does gets it where it wants it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
import interlock

async def main():
    settings = interlock.Settings(log_calls=True, debug=True, seed_size=2, api_mode="mock")
    async with interlock.connect(settings) as crm:
        await crm.auth.login("agent@acme.test", "interlock-demo")
        await crm.customers.list(limit=1)

asyncio.run(main())
"""
CONFIGURED = "import structlog; structlog.configure(logger_factory=structlog.PrintLoggerFactory())\n"


@pytest.mark.parametrize(("configure", "said"), [("", False), (CONFIGURED, True)], ids=["silent", "configured"])
def test_the_library_logs_where_it_is_told(tmp_path: Path, configure: str, said: bool) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("INTERLOCK_")}
    command = [sys.executable, "-c", configure + PROGRAM]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert ("call" in done.stdout, done.stderr) == (said, "")
