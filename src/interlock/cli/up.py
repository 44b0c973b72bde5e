"""Starts the real API and the gateway on embedded defaults, and stops everything that it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

from rich.markup import escape

from interlock.cli.output import Output
from interlock.cli.running import Running, forget, remember, running
from interlock.cli.serving import GRACE, claim_port, reach
from interlock.errors import InterlockError, Misconfigured, Unavailable
from interlock.http import Call, Engine, open_engine
from interlock.settings import Settings

__all__ = ["up"]

START_TIMEOUT = 60.0


class Child:
    """One server process. It ends with its parent even where the parent is killed: its standard input ends then."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it in a session of its own, so that the terminal's Ctrl-C reaches only the parent."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "interlock",
                "serve",
                "--child",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(env),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, 0 where it was never started."""
        return self._process.pid if self._process else 0

    async def ended(self) -> str:
        """Waits for its end; answers its name."""
        if self._process is not None:
            await self._process.wait()
        return self.name

    def signal(self, number: int) -> None:
        """Hand a signal on."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def ready(self, engine: Engine, base: str) -> None:
        """Wait until it answers /readyz. Raises `Unavailable` with the end of its log where it dies or takes too long."""
        died = asyncio.ensure_future(self.ended())
        loop = asyncio.get_running_loop()
        until = loop.time() + START_TIMEOUT
        try:
            while not died.done():
                why = await _unready(engine, f"{base}/readyz")
                if not why:
                    return
                if loop.time() > until:
                    raise Unavailable(
                        f"{self.name} was not ready after {START_TIMEOUT:g} s: {why}; {self.last_words()}"
                    )
                await asyncio.wait([died], timeout=0.05)
            raise Unavailable(f"{self.name} ended at once; {self.last_words()}")
        finally:
            died.cancel()

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return (
            f"its log, {self.log}, ends with:\n" + "\n".join(lines[-15:]) if lines else f"its log, {self.log}, is empty"
        )

    async def stop(self) -> None:
        """Ask it to stop, wait, and kill it where it does not."""
        process = self._process
        if process is None:
            return
        self.signal(signal.SIGTERM)
        if process.stdin is not None:
            process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), GRACE + 5)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _unready(engine: Engine, url: str) -> str:
    """Why it does not say that it is ready, "" where it does."""
    try:
        reply = await engine.send(Call("GET", url, timeout=5))
    except InterlockError as error:
        return error.message
    return "" if reply.status == 200 else reply.body.decode("utf-8", "replace")[:500]


async def _prepare(settings: Settings, output: Output) -> None:
    from interlock.embedded import prepare_database

    with nullcontext() if output.json else output.console.status("preparing the database"):
        new = await prepare_database(settings)
    output.say(f"[green]✓[/green] database {'made' if new else 'ready'} in {escape(str(settings.home))}")


@asynccontextmanager
async def _supabase(settings: Settings, output: Output, stop: asyncio.Event) -> AsyncIterator[Mapping[str, str] | None]:
    """The local Supabase, where a service is on it and no project is named: the variables that point at it, None where `stop` came
    first."""
    if not settings.needs_local_supabase:
        yield {}
        return
    from interlock.embedded import local_supabase

    status = output.console.status("starting the local Supabase") if not output.json else None

    def say(what: str) -> None:
        if status is not None:
            status.update(escape(what))

    stack = local_supabase(settings, say)
    stopping = asyncio.ensure_future(stop.wait())
    starting = asyncio.ensure_future(stack.__aenter__())
    with status or nullcontext():
        await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        yield None
        return
    local = starting.result()
    try:
        output.say(f"[green]✓[/green] a local Supabase on {local.url}")
        yield local.environment
    finally:
        await stack.__aexit__(None, None, None)


async def up(settings: Settings, output: Output) -> int:
    """Run the product until SIGINT or SIGTERM, or until one of its servers dies. Answers the exit code."""
    found = running(settings.home)
    if found is not None:
        raise Misconfigured(
            [
                f"INTERLOCK_HOME: process {found.pid} already runs out of {settings.home}, on {found.gateway}; stop it first"
            ]
        )
    if settings.port == settings.api_port:
        raise Misconfigured([f"INTERLOCK_API_PORT: is {settings.port} as INTERLOCK_PORT is; give it another port"])
    claim_port(settings.host, settings.port, "INTERLOCK_PORT")
    claim_port(settings.host, settings.api_port, "INTERLOCK_API_PORT")
    embedded = settings.model_copy(update={"database_url": None})
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if settings.placeholders:
        instead = "a local Supabase is started instead" if settings.needs_local_supabase else "they count as not set"
        output.say(f"[yellow]![/yellow] {', '.join(settings.placeholders)}: not filled in; {instead}")
    await _prepare(embedded, output)
    api = Child("the real API", settings.home / "logs" / "api.log")
    gateway = Child("the gateway", settings.home / "logs" / "gateway.log")
    # A terminal that closes sends SIGHUP too, and then it means the end.
    on_hangup = stop.set if sys.stdin is not None and sys.stdin.isatty() else lambda: gateway.signal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    engine = open_engine(settings.http_engine)
    ended = None
    try:
        async with _supabase(settings, output, stop) as local:
            try:
                if local is not None:
                    ended = await _run(settings, output, engine, api, gateway, stop, {**os.environ, **local})
            finally:
                output.say("stopping ...")
                await asyncio.gather(gateway.stop(), api.stop())
    finally:
        forget(settings.home)
        await engine.aclose()
    if ended is not None:
        raise Unavailable(f"{ended.name} ended by itself; {ended.last_words()}")
    output.say("stopped")
    return 0


async def _run(
    settings: Settings,
    output: Output,
    engine: Engine,
    api: Child,
    gateway: Child,
    stop: asyncio.Event,
    environment: Mapping[str, str],
) -> Child | None:
    """Start both, tell where they are, and wait. Answers the child that ended by itself, if one did."""
    stopping = asyncio.ensure_future(stop.wait())
    try:
        for child, arguments, port in ((api, ["--api"], settings.api_port), (gateway, [], settings.port)):
            base = reach(settings.host, port)
            await child.start(arguments, environment)
            ready = asyncio.ensure_future(child.ready(engine, base))
            await asyncio.wait([ready, stopping], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                ready.cancel()
                await asyncio.gather(ready, return_exceptions=True)
                return None
            ready.result()
            output.say(f"[green]✓[/green] {child.name} on {base}")
        here = Running(os.getpid(), reach(settings.host, settings.port), reach(settings.host, settings.api_port))
        remember(settings.home, here)
        _welcome(settings, output, here)
        ends = {child: asyncio.ensure_future(child.ended()) for child in (api, gateway)}
        await asyncio.wait([stopping, *ends.values()], return_when=asyncio.FIRST_COMPLETED)
        dead = None if stopping.done() else next(child for child, ended in ends.items() if ended.done())
        for ended in ends.values():
            ended.cancel()
        return dead
    finally:
        stopping.cancel()


def _welcome(settings: Settings, output: Output, here: Running) -> None:
    from interlock.embedded import DEMO_PASSWORD, DEMO_USERS

    if output.json:
        output.data({"event": "ready", "pid": here.pid, "gateway": here.gateway, "api": here.api})
        return
    output.say("")
    if settings.seed_demo:
        output.say(f"demo users, password [bold]{DEMO_PASSWORD}[/bold]:")
        for user in DEMO_USERS:
            output.say(f"  {user.email:<18} [dim]{user.role}[/dim]")
        output.say("")
    output.say(f"look at  {here.gateway}/openapi.json  the routes")
    output.say(f"         {here.gateway}/health        is all well?")
    output.say(f"         {escape(str(settings.home / 'logs'))}               what the servers say")
    output.say("try      interlock status")
    output.say("         interlock call customers.list status=active limit=5")
    output.say("         interlock switch customers real")
    output.say("Ctrl-C stops everything.")
