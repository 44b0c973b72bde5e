"""A list of 50 customers over HTTP: the gateway, FastAPI behind the same token check, and a bare handler."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack

from bench.measure import Result, emit, interleaved, paired, rounded
from bench.serving import Running, running

SECONDS = 2
CONNECTIONS = 50
RUNS = 7


async def load(server: Running, url: str = "") -> float:
    """Requests a second for its own address or another of it, by wrk on the last core, else by a loader of our own (which favours the slower server)."""
    url = url or server.url
    if shutil.which("wrk") is None:
        return await own_load(server, url)
    pin = ["taskset", "-c", str(max(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
    command = [
        *pin,
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{SECONDS}s",
        "--timeout",
        "30s",
        "-H",
        f"Authorization: Bearer {server.token}",
        url,
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate is not None, output
    assert "Non-2xx" not in output, output
    assert "Socket errors" not in output, output
    return float(rate.group(1))


async def own_load(server: Running, url: str) -> float:
    """As wrk does it: connections that stay open, each with one request at a time."""
    host, port = url.removeprefix("http://").split("/", 1)[0].split(":")
    path = "/" + url.removeprefix("http://").split("/", 1)[1]
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
    done = 0
    end = time.perf_counter() + SECONDS

    async def one() -> None:
        nonlocal done
        reader, writer = await asyncio.open_connection(host, int(port))
        while time.perf_counter() < end:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            assert b" 200 " in head
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await reader.readexactly(int(length.group(1)))
            done += 1
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return done / SECONDS


async def run() -> Mapping[str, Result]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(name)) for name in ("gateway", "fastapi", "bare")}

        def loaded(server: Running) -> Callable[[], Awaitable[float]]:
            return lambda: load(server)

        taken = await interleaved(RUNS, {name: loaded(server) for name, server in servers.items()})
    parts = {f"{name}, requests/s": rounded(sorted(rates)[len(rates) // 2]) for name, rates in taken.items()}
    return {
        "gateway_list_vs_fastapi": paired(
            taken["gateway"],
            taken["fastapi"],
            bar=">=2.5",
            peer="FastAPI + pydantic on uvicorn (uvloop, httptools), same rows, same ES256 check, one process each",
            parts=parts,
        ),
        "gateway_list_vs_bare": paired(
            taken["gateway"],
            taken["bare"],
            bar=">=0.6",
            peer="a bare ASGI handler on granian (uvloop) that encodes the same rows at each call and checks no token",
            parts=parts,
        ),
    }


if __name__ == "__main__":
    emit(run)
