"""The servers that benches call, each a process of its own: `python -m bench.serving gateway|cached|sql|replay|bare|constant|fastapi PORT HOME`.

All of them serve the same 50 customers at /api/v1/customers (`sql` has 200); `replay` answers whatever is asked with the bytes that it was given.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvloop

from bench.data import ADMIN, customers
from interlock.entities.customer import Customer
from interlock.tokens import TokenIssuer, TokenVerifier

__all__ = ["PATH", "Answer", "Running", "running", "served_rows"]

PATH = "/api/v1/customers"
AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


def served_rows() -> list[Customer]:
    """Fifty customers as they are served: with ids and the server's own fields."""
    return [
        msgspec.structs.replace(
            row,
            id=f"0190d2f1-0000-7000-8000-{place:012x}",
            tenant_id=ADMIN.tenant_id,
            created_at=AT,
            updated_at=AT,
            created_by=ADMIN.user_id,
            updated_by=ADMIN.user_id,
            version=1,
        )
        for place, row in enumerate(customers(50))
    ]


class Running(msgspec.Struct, frozen=True):
    """A server that runs: where, a token that it takes, and its process."""

    url: str
    token: str
    pid: int


class Answer(msgspec.Struct, frozen=True):
    """What `replay` says to everybody."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


@contextmanager
def running(which: str, replayed: Answer | None = None) -> Iterator[Running]:
    """One of the servers, for the length of a `with`. On the first core, where there are several."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with tempfile.TemporaryDirectory() as home:
        issuer = TokenIssuer.from_directory(Path(home) / "keys")
        if replayed is not None:
            (Path(home) / "answer").write_bytes(msgspec.msgpack.encode(replayed))
        process = subprocess.Popen(  # noqa: S603 - this very module
            [sys.executable, "-m", "bench.serving", which, str(port), home], stdout=subprocess.DEVNULL
        )
        try:
            found = Running(f"http://127.0.0.1:{port}{PATH}", issuer.mint(ADMIN, 3600), process.pid)
            _wait(found, process)
            yield found
        finally:
            process.terminate()
            process.wait(30)


def _wait(found: Running, process: subprocess.Popen[bytes]) -> None:
    asked = urllib.request.Request(found.url, headers={"Authorization": f"Bearer {found.token}"})  # noqa: S310 - loopback
    for _ in range(300):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(asked) as answer:  # noqa: S310 - loopback
                assert answer.status == 200
                assert msgspec.json.decode(answer.read())
                return
        except urllib.error.HTTPError:
            raise
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server did not answer within 30 s")


# -- the servers --------------------------------------------------------------------------------------------------


async def gateway(port: int, home: Path, *, cache: bool = False, mode: Literal["mock", "sql"] = "mock") -> None:
    """The product: the gateway over memory, with the cache or without, or over SQLite."""
    from interlock.app import App
    from interlock.gateway import serve
    from interlock.settings import Settings

    # the limit stays on, far above what one core can do
    app = await App.open(
        Settings(api_mode=mode, home=home, port=port, environment="production", rate_limit=1_000_000, cache=cache)
    )
    await app.services(ADMIN).customers.bulk_create(customers(200 if mode == "sql" else 50))
    await serve(app, "127.0.0.1", port)


async def replay(port: int, home: Path) -> None:
    """The least that an ASGI application can do, on the gateway's own server: the same status, headers and body for everybody."""
    from interlock.gateway.server import serving

    answer = msgspec.msgpack.decode((home / "answer").read_bytes(), type=Answer)
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(name.encode(), value.encode()) for name, value in answer.headers],
    }
    body = {"type": "http.response.body", "body": answer.body}

    async def constant(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send(start)
            await send(body)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(constant, "127.0.0.1", port):
        await stop.wait()


def asgi(port: int, *, constant: bool) -> None:
    """A bare ASGI handler on granian: encodes the rows at each call, or answers the same bytes."""
    from granian.constants import Interfaces, Loops
    from granian.server import Server

    os.environ["BENCH_CONSTANT"] = "1" if constant else ""
    Server(
        "bench.serving:bare",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        workers=1,
        log_enabled=False,
    ).serve()


ROWS = served_rows()
_encode = msgspec.json.Encoder().encode
_body = _encode(ROWS)
_HEADERS = [(b"content-type", b"application/json"), (b"x-total-count", b"50"), (b"content-range", b"customers 0-49/50")]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The least that a Python server can do for this list."""
    if scope["type"] != "http":
        return
    body = _body if os.environ.get("BENCH_CONSTANT") else _encode(ROWS)
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": body})


def fastapi(port: int, home: Path) -> None:
    """FastAPI on uvicorn, with uvloop and httptools."""
    import uvicorn

    from bench.fastapi_peer import make

    verifier = TokenVerifier.for_issuer(TokenIssuer.from_directory(home / "keys"))
    app = make(PATH, [msgspec.to_builtins(row) for row in ROWS], verifier)
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


def main(which: str, port: int, home: Path) -> None:
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    match which:
        case "gateway":
            uvloop.run(gateway(port, home))
        case "sql":
            uvloop.run(gateway(port, home, mode="sql"))
        case "cached":
            uvloop.run(gateway(port, home, cache=True))
        case "replay":
            uvloop.run(replay(port, home))
        case "bare" | "constant":
            asgi(port, constant=which == "constant")
        case "fastapi":
            fastapi(port, home)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
