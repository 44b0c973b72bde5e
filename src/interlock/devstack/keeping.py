"""The controller's side of the keeper: commands sent to it, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.devstack import keeper
from interlock.errors import Unavailable

__all__ = ["Keeping"]


class Keeping:
    """A keeper process, and what may be asked of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls) -> Keeping:
        """Start a keeper. It ends, and every server with it, when this process does."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(Path(keeper.__file__)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # what is killed with our whole process group must not be the keeper
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        return cls(process)

    async def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        user: tuple[int, int] | None = None,
    ) -> int:
        """Start a server under a name; answers its process id."""
        command = {
            "start": name,
            "argv": [str(part) for part in argv],
            "env": dict(env),
            "cwd": str(cwd),
            "log": str(log),
        }
        answer = await self._ask({**command, "user": user})
        return int(answer["pid"])

    async def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop a server and wait until it has ended."""
        await self._ask({"stop": name, "signal": int(how)})

    async def ended(self, name: str) -> bool:
        """Whether a server has ended by itself."""
        return (await self._ask({"poll": name}))["status"] is not None

    async def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        into, out = self._process.stdin, self._process.stdout
        if into is None or out is None:
            raise Unavailable("the keeper of the stack has no pipes")
        async with self._turn:
            try:
                into.write(json.dumps(command).encode() + b"\n")
                await into.drain()
                line = await out.readline()
            except OSError as error:
                raise Unavailable("the keeper of the stack has ended") from error
        if not line:
            raise Unavailable("the keeper of the stack has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(f"a part of the stack did not start: {answer['error']}")
        return answer

    async def aclose(self) -> None:
        """End every server, and the keeper."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            await self._process.wait()
