"""The controller's side of the keeper: commands sent to it, one at a time."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interlock.devstack import keeper
from interlock.errors import Unavailable

__all__ = ["Keeping"]


class Keeping:
    """A keeper process, and what may be asked of it. Bound to no event loop: tests of several loops share a stack."""

    def __init__(self) -> None:
        """Start a keeper. It ends, and every server with it, when this process does."""
        self._turn = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603  # our own file, by our own Python
            [sys.executable, "-I", "-S", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # what is killed with our whole process group must not be the keeper
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )

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
        """Start a server under a name; answers its process id. One that runs under that name is stopped first."""
        command = {"argv": [str(part) for part in argv], "env": dict(env), "cwd": str(cwd), "log": str(log)}
        answer = await asyncio.to_thread(self._ask, {"start": name, **command, "user": user})
        return int(answer["pid"])

    async def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop a server and wait until it has ended."""
        await asyncio.to_thread(self._ask, {"stop": name, "signal": int(how)})

    async def ended(self, name: str) -> bool:
        """Whether a server has ended by itself."""
        return (await asyncio.to_thread(self._ask, {"poll": name}))["status"] is not None

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        into, out = self._process.stdin, self._process.stdout
        if into is None or out is None:
            raise Unavailable("the keeper of the stack has no pipes")
        with self._turn:
            try:
                into.write(json.dumps(command).encode() + b"\n")
                into.flush()
                line = out.readline()
            except (OSError, ValueError) as error:
                raise Unavailable("the keeper of the stack has ended") from error
        if not line:
            raise Unavailable("the keeper of the stack has ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Unavailable(f"a part of the stack did not start: {answer['error']}")
        return answer

    async def aclose(self) -> None:
        """End every server, and the keeper."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._turn:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
