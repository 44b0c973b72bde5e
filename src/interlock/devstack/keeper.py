"""Keeps the servers of a stack: starts them, and ends them with whoever asked for them, also when that one is killed.

Run as a program of its own (standard library only, so that it is up in milliseconds). It reads commands from its standard input, one JSON
object a line, and answers each with one line. When its input ends, by `close` or by the death of its parent, it ends every server and itself.

::

    {"start": "postgrest", "argv": [...], "env": {...}, "cwd": "...", "log": "...", "user": [uid, gid] | null}  ->  {"pid": 123}
    {"stop": "postgrest", "signal": 15}                                                                       ->  {"status": 0}
    {"poll": "postgrest"}                                                                                      ->  {"status": null}
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

PATIENCE = 10.0
LAST_SIGNALS = {"postgres": signal.SIGQUIT}


class Keeper:
    """The servers by their names."""

    def __init__(self) -> None:
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do one command."""
        match command:
            case {"start": str(name)}:
                return {"pid": self._start(name, command)}
            case {"stop": str(name)}:
                return {"status": self._stop(name, signal.Signals(int(command["signal"])))}
            case {"poll": str(name)}:
                server = self._servers.get(name)
                return {"status": server.poll() if server else -1}
        return {"error": f"not a command: {sorted(command)}"}

    def _start(self, name: str, command: dict[str, Any]) -> int:
        self._stop(name, signal.SIGTERM)
        user: dict[str, Any] = {}
        if command.get("user") is not None:
            uid, gid = command["user"]
            user = {"user": uid, "group": gid, "extra_groups": []}
        with open(command["log"], "ab") as log:
            self._servers[name] = server = subprocess.Popen(  # noqa: S603  # its parent names the programs
                command["argv"],
                env=command["env"],
                cwd=command["cwd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C at the terminal is for the parent to pass on
                **user,
            )
        return server.pid

    def _stop(self, name: str, how: signal.Signals) -> int | None:
        server = self._servers.pop(name, None)
        if server is None:
            return None
        if server.poll() is None:
            server.send_signal(how)
        return self._wait(server)

    def _wait(self, server: subprocess.Popen[bytes]) -> int:
        try:
            return server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            return server.wait()

    def close(self) -> None:
        """End every server: all are told first, then waited for."""
        for name, server in self._servers.items():
            if server.poll() is None:
                server.send_signal(LAST_SIGNALS.get(name, signal.SIGTERM))
        for server in self._servers.values():
            self._wait(server)


def main() -> None:
    """Serve commands until the input ends."""
    for unheeded in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(unheeded, lambda *_: None)  # not SIG_IGN, which the servers would inherit
    keeper = Keeper()
    try:
        for line in sys.stdin:
            try:
                answer = keeper.answer(json.loads(line))
            except (OSError, ValueError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit has somewhere to go
    finally:
        keeper.close()


if __name__ == "__main__":
    main()
