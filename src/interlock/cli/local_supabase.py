"""Starts, stops and resets the local Supabase of the home folder, and says how it is."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

from rich.markup import escape

from interlock.cli.exits import Exit
from interlock.cli.output import Output
from interlock.errors import InterlockError, Misconfigured, Unavailable
from interlock.http import Call, Engine, open_engine
from interlock.settings import Settings
from interlock.settings.local import LocalSupabase

__all__ = ["reset", "serve", "start", "status", "stop"]

_GLANCE: Final = 0.05
_STOP_SECONDS: Final = 30.0
_PROBES: Final = {
    "rest": "/rest/v1/",
    "auth": "/auth/v1/health",
    "storage": "/storage/v1/bucket",
    "realtime": "/realtime/v1/health",
    "functions": "/functions/v1/_health",
}


async def serve(settings: Settings, output: Output) -> int:
    """Run the local Supabase until SIGTERM or SIGINT: what `start` leaves behind."""
    from interlock.embedded import local_supabase

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with local_supabase(settings, lambda line: output.console.out(line, highlight=False)):
        await stop.wait()
    return Exit.OK


async def start(settings: Settings, output: Output, *, show_keys: bool) -> int:
    """Start it, unless it runs, and leave it running. Raises `Misconfigured` where a program is missing or the port is taken."""
    from interlock.devstack import taken

    if LocalSupabase.found(settings.home) is None:
        if taken(settings.supabase_port):
            raise Misconfigured(
                [
                    f"INTERLOCK_SUPABASE_PORT: port {settings.supabase_port} is taken by another program; stop it, or choose another port"
                ]
            )
        await _launch(settings, output)
    return await status(settings, output, show_keys=show_keys)


def _spawn(settings: Settings, said: Path, failed: Path) -> subprocess.Popen[bytes]:
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("wb") as out, failed.open("wb") as err:
        return subprocess.Popen(  # ourselves
            [sys.executable, "-m", "interlock", "supabase", "serve"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,  # it outlives this command and its terminal
            env={**os.environ, "INTERLOCK_HOME": str(settings.home.absolute()), "PYTHONUNBUFFERED": "1"},
        )


async def _launch(settings: Settings, output: Output) -> None:
    logs = settings.home / "supabase" / "logs"
    said, failed = logs / "start.log", logs / "start.err"
    process = _spawn(settings, said, failed)
    with nullcontext() if output.json else output.console.status("starting the local Supabase") as shown:
        while True:
            if (code := process.poll()) is not None:
                why = failed.read_text("utf-8", "replace").strip() or f"it ended with {code}"
                raise Misconfigured([why]) if code == Exit.USAGE else Unavailable(why)
            local = LocalSupabase.found(settings.home)
            if local is not None and local.pid == process.pid:
                return
            lines = said.read_text("utf-8", "replace").splitlines()
            if shown is not None and lines:
                shown.update(escape(lines[-1]))
            await asyncio.sleep(_GLANCE)


async def stop(settings: Settings, output: Output) -> int:
    """Stop it. Its data stay. Nothing is done where it does not run."""
    local = LocalSupabase.found(settings.home)
    if local is not None:
        await _end(local)
    if output.json:
        output.data({"running": False})
    else:
        output.say("stopped" if local is not None else "no local Supabase runs")
    return Exit.OK


async def _end(local: LocalSupabase) -> None:
    os.kill(local.pid, signal.SIGTERM)
    loop = asyncio.get_running_loop()
    until = loop.time() + _STOP_SECONDS
    while local.alive and not _reaped(local.pid):
        if loop.time() > until:
            raise Unavailable(f"process {local.pid} did not stop in {_STOP_SECONDS:g} s; end it yourself")
        await asyncio.sleep(_GLANCE)


def _reaped(pid: int) -> bool:
    """Whether it was a child of ours that has ended: such a process is there until it is asked for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


async def reset(settings: Settings, output: Output, *, show_keys: bool) -> int:
    """Throw its data away and make it anew; it runs afterwards. Its keys stay."""
    local = LocalSupabase.found(settings.home)
    if local is not None:
        await _end(local)
    folder = settings.home / "supabase"
    for gone in ("filled", "mails.jsonl"):
        (folder / gone).unlink(missing_ok=True)
    shutil.rmtree(folder / "work", ignore_errors=True)
    return await start(settings, output, show_keys=show_keys)


async def status(settings: Settings, output: Output, *, show_keys: bool) -> int:
    """Say whether it runs, where, and which of its parts answer. The keys are shown only where asked for."""
    local = LocalSupabase.found(settings.home)
    found: dict[str, Any] = {"running": local is not None, "url": None, "keysIn": None, "parts": {}}
    if local is not None:
        found |= {
            "url": local.url,
            "keysIn": str(settings.home / "supabase" / "keys.json"),
            "parts": await _parts(settings, local),
        }
        if show_keys:
            found["keys"] = local.environment
    if output.json:
        output.data(found)
    elif local is None:
        output.say("no local Supabase runs; start one with [bold]interlock supabase start[/bold]")
    else:
        _tell(output, found)
    return Exit.OK if local is not None else Exit.UNAVAILABLE


def _tell(output: Output, found: dict[str, Any]) -> None:
    output.say(f"[green]✓[/green] a local Supabase on {found['url']}")
    for part, answer in found["parts"].items():
        mark = "[green]✓[/green]" if answer == "ok" else "[red]✗[/red]"
        output.say(f"  {mark} {part}{'' if answer == 'ok' else f': {escape(answer)}'}")
    output.say(f"  its keys are in {escape(found['keysIn'])}, or shown with --show-keys")
    for name, value in found.get("keys", {}).items():
        output.say(f"  {name}={escape(value)}")


async def _parts(settings: Settings, local: LocalSupabase) -> dict[str, str]:
    engine = open_engine(settings.http_engine)
    try:
        answers = await asyncio.gather(*(_answer(engine, local, path) for path in _PROBES.values()))
    finally:
        await engine.aclose()
    return dict(zip(_PROBES, answers, strict=True))


async def _answer(engine: Engine, local: LocalSupabase, path: str) -> str:
    headers = {"apikey": local.service_key, "authorization": f"Bearer {local.service_key}"}
    try:
        reply = await engine.send(Call("GET", f"{local.url}{path}", headers, timeout=10))
    except InterlockError as error:
        return error.message
    return "ok" if reply.status == 200 else f"answers {reply.status}"
