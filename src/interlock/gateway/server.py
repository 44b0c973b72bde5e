"""Serves the gateway with granian, in this process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from granian.constants import Interfaces
from granian.server.embed import Server

from interlock.app import App
from interlock.errors import Unavailable
from interlock.gateway.application import create_app
from interlock.interpreter import let_threads_rest_at_exit
from interlock.ports import free_port

__all__ = ["serve", "serving"]

GRACE: Final = 10.0
"""Seconds that calls in flight have to finish after the signal to stop."""


@asynccontextmanager
async def serving(application: Any, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """An ASGI application, served for the length of an `async with`; answers its address. Port 0 takes a free one."""
    port = port or free_port(host)
    let_threads_rest_at_exit()
    server = Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_enabled=False,
        backlog=1024,
    )
    task = asyncio.ensure_future(server.serve())
    try:
        await _answering(task, host, port)
        yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # granian leaves this method untyped
        stopping = getattr(application, "stopping", None)
        if stopping is not None:
            stopping.set()
        _, late = await asyncio.wait({task}, timeout=GRACE)
        for slow in late:
            slow.cancel()


async def serve(app: App, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until SIGINT or SIGTERM; calls in flight finish, streams end. The app stays open: whoever opened it closes it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        async with serving(create_app(app), host, port):
            await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _answering(task: asyncio.Future[None], host: str, port: int) -> None:
    """Returns once the server takes connections. Raises `Unavailable` where it ends instead."""
    while True:
        if task.done():
            task.result()
            raise Unavailable(f"the server on {host}:{port} ended before it took a connection")
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.01)
            continue
        writer.close()
        return
