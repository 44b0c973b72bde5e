"""Servers for these tests: npm's real json-server, and any ASGI application on uvicorn."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.patience import PATIENCE

from interlock.ports import free_port

HERE = Path(__file__).parent
BIN = HERE / "json_server" / "node_modules" / ".bin" / "json-server"


def json_server_missing() -> str | None:
    """Why json-server cannot be started, or None. In CI it must."""
    if shutil.which("node") and BIN.exists():
        return None
    reason = "json-server is not installed; run `npm ci` in tests/rest/json_server"
    if os.environ.get("CI"):
        pytest.fail(reason)
    return reason


@asynccontextmanager
async def json_server(folder: Path, resources: Sequence[str]) -> AsyncIterator[str]:
    """A json-server of its own with empty collections, kept in its memory, as its base URL."""
    if reason := json_server_missing():
        pytest.skip(reason)
    database = folder / "db.js"
    database.write_text(f"module.exports = () => ({json.dumps({resource: [] for resource in resources})})")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(BIN),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--quiet",
        # By default a DELETE removes what refers to no record by a field that ends in Id, and fails where such a field is null.
        "--foreignKeySuffix",
        "_none",
        str(database),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        await _listening(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if process.returncode is not None:
                assert process.stderr is not None
                raise AssertionError((await process.stderr.read()).decode())
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """An ASGI application over real HTTP in this event loop, as its base URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the test run keeps its own
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
