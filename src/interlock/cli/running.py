"""What is running out of this home folder: one small file that says where, and calls to it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from interlock.app import SYSTEM
from interlock.errors import Forbidden, InterlockError, Invalid, NotFound, Unauthenticated, Unavailable
from interlock.http import Call, Engine, open_engine
from interlock.settings import Settings
from interlock.tokens import TokenIssuer

__all__ = ["Remote", "Running", "forget", "remember", "running"]


class Running(msgspec.Struct, frozen=True, rename="camel"):
    """A product that runs: the process that answers for it, and where its servers are (`api` only under `up`)."""

    pid: int
    gateway: str
    api: str | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is still there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def _file(home: Path) -> Path:
    return home / "run.json"


def remember(home: Path, found: Running) -> None:
    """Say in the home folder what runs."""
    home.mkdir(parents=True, exist_ok=True)
    whole = _file(home).with_suffix(".new")
    whole.write_bytes(msgspec.json.encode(found))
    whole.replace(_file(home))


def forget(home: Path) -> None:
    """Say that what this process ran has ended."""
    found = _read(home)
    if found is not None and found.pid == os.getpid():
        with suppress(FileNotFoundError):
            _file(home).unlink()


def _read(home: Path) -> Running | None:
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def running(home: Path) -> Running | None:
    """What runs out of this home folder, None where nothing does."""
    found = _read(home)
    return found if found is not None and found.alive else None


class Remote:
    """The running product's own routes, called as the system."""

    def __init__(self, engine: Engine, base: str, token: str) -> None:
        self._engine = engine
        self._base = base
        self._token = token

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, found: Running) -> AsyncIterator[Remote]:
        """Calls authorised by the key in the home folder: who can read the key may do this."""
        token = TokenIssuer.from_directory(settings.home / "keys").mint(SYSTEM, 60)
        engine = open_engine(settings.http_engine)
        try:
            yield cls(engine, found.gateway, token)
        finally:
            await engine.aclose()

    async def status(self) -> list[dict[str, Any]]:
        """One row for each service."""
        answer = await self.call("GET", "/api/v1/_status")
        rows = answer.get("services") if isinstance(answer, dict) else answer
        return list(rows or ())

    async def switch(self, service: str, backend: str) -> Any:
        """Turn the route of a service: the switch; with `all`, of every service: the list of switches."""
        return await self.call("POST", "/api/v1/_switch", {"service": service, "backend": backend})

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call, its answer decoded, its problem raised as one of our errors."""
        headers = {"authorization": f"Bearer {self._token}", "accept": "application/json"}
        content = None
        if body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        reply = await self._engine.send(Call(method, f"{self._base}{path}", headers, content, timeout=30))
        try:
            answer = msgspec.json.decode(reply.body)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self._base} answered {reply.status} with something that is not JSON") from error
        if reply.status >= 400:
            raise _error(reply.status, answer)
        return answer


def _error(status: int, answer: Any) -> InterlockError:
    problem = answer if isinstance(answer, dict) else {}
    message = str(problem.get("message", f"the product answered {status}"))
    fields = problem.get("errors")
    match status:
        case 400 | 422:
            return Invalid(fields if isinstance(fields, dict) and fields else {"request": message})
        case 401:
            return Unauthenticated(message)
        case 403:
            return Forbidden(message)
        case 404:
            return NotFound("route", message)
        case _:
            return Unavailable(message)
