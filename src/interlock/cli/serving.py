"""Serves the gateway in this process, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from interlock.app import App
from interlock.cli.output import Output
from interlock.cli.running import Running, forget, remember
from interlock.cli.watch import ConfigWatch
from interlock.errors import Misconfigured
from interlock.observability.logs import configure, log_unhandled
from interlock.settings import Settings

__all__ = ["claim_port", "log_to_stderr", "reach", "serve"]

GRACE = 10.0
"""Seconds that calls in flight have to finish after the signal to stop."""


def log_to_stderr(settings: Settings) -> None:
    """One JSON object a line, on standard error."""
    configure(logging.DEBUG if settings.debug else logging.getLevelNamesMapping()[settings.log_level.upper()])


def reach(host: str, port: int) -> str:
    """The address to call a server at that listens on `host`."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared with, not bound to
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def claim_port(host: str, port: int, variable: str) -> None:
    """Raises `Misconfigured` where something else listens on the port already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "is taken by another program" if error.errno == 98 else f"cannot be listened on ({error.strerror})"
            raise Misconfigured(
                [f"{variable}: {host}:{port} {why}; stop that program, or set {variable} to another port"]
            ) from error


async def serve(
    settings: Settings,
    load: Callable[[], Settings],
    output: Output,
    *,
    variable: str = "INTERLOCK_PORT",
    child: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM; as a child, also until standard input ends, which is when its parent does.

    `load` reads the configuration again, on SIGHUP and when a file of it changes.
    """
    from interlock.gateway.application import create_app
    from interlock.gateway.server import serving

    settings.check()
    claim_port(settings.host, settings.port, variable)
    log_to_stderr(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(log_unhandled)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    app = await App.open(settings)
    watch = ConfigWatch(app, load)
    loop.add_signal_handler(signal.SIGHUP, watch.ask)
    tasks = [loop.create_task(watch.follow())]
    try:
        async with serving(create_app(app), settings.host, settings.port):
            if child:
                tasks.append(loop.create_task(_stdin_ended(stop)))
            else:
                remember(settings.home, Running(os.getpid(), reach(settings.host, settings.port)))
                output.say(f"serving on {reach(settings.host, settings.port)}, Ctrl-C stops it")
            await stop.wait()
    finally:
        for task in tasks:
            task.cancel()
        await app.aclose()
        if not child:
            forget(settings.home)


async def _stdin_ended(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()
