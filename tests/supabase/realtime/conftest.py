"""A local Supabase that the tests of watching may stop in parts, callers who write to it, and watchers whose way to it can be cut."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msgspec
import pytest
from tests.patience import PATIENCE
from tests.supabase.realtime.cutting import Cutter, cutting

from interlock.backends.supabase import SupabaseBackend
from interlock.backends.supabase.changes import Changes, Pace
from interlock.backends.supabase.client import Caller, SupabaseSettings
from interlock.contract import Identity
from interlock.devstack import Stack, running
from interlock.entities import ENTITIES
from interlock.errors import Misconfigured
from interlock.http import Call, open_engine
from interlock.identifiers import new_id

NEVER = Pace(told=3600.0, untold=3600.0)
"""Nobody looks by themselves: what arrives was told of by Realtime."""


class Tokens:
    """A user's tokens, short-lived if need be. `minted` counts those asked for."""

    def __init__(self, secret: str, ttl: float = 900.0) -> None:
        self._secret = secret
        self.ttl = ttl
        self.minted = 0
        self.refused: Exception | None = None
        self._held: dict[Identity, tuple[str, float]] = {}

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        if self.refused is not None:
            raise self.refused
        now = time.time()
        held = self._held.get(identity)
        if held is not None and not refresh and held[1] > now + self.ttl / 5:
            return held[0]
        self.minted += 1
        claims = {
            "aud": "authenticated",
            "role": "authenticated",
            "sub": identity.user_id,
            "iat": int(now),
            "exp": now + self.ttl,
            "jti": str(self.minted),
            "app_metadata": {
                "tenant_id": identity.tenant_id,
                "role": identity.role,
                "user_id": identity.user_id,
            },
        }
        self._held[identity] = (jwt.encode(claims, self._secret), now + self.ttl)
        return self._held[identity][0]


def somebody() -> Identity:
    """An admin of a tenant of their own."""
    return Identity(new_id(), new_id(), "admin")


async def until(happened: Callable[[], bool]) -> None:
    """Returns once something has happened that nobody tells of."""
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110 - it is within the part under test, which tells nobody
            await asyncio.sleep(0.01)


class World:
    """One test's callers and watchers; all of it ends with the test."""

    def __init__(self, stack: Stack, cutter: Cutter, stay: AsyncExitStack) -> None:
        self.stack = stack
        self.cutter = cutter
        self.tokens = Tokens(stack.jwt_secret)
        self._stay = stay
        self._engine = open_engine("pyreqwest")
        stay.push_async_callback(self._engine.aclose)

    def changes(self, *, tokens: Tokens | None = None, pace: Pace | None = None, realtime: bool = True) -> Changes:
        """The watching part of a backend whose way to the project is the cutter's."""
        settings = SupabaseSettings(url=self.cutter.url, anon_key=self.stack.anon_key, timeout=10.0)
        tokens = tokens or self.tokens
        engine = open_engine("pyreqwest")
        backend = SupabaseBackend(settings, ENTITIES, tokens=tokens)
        watching = Changes(
            settings.url,
            settings.anon_key,
            tokens=tokens,
            call=Caller(settings, engine, tokens).function,
            handle=backend.handle,
            realtime=realtime,
            pace=pace,
        )
        for close in (engine.aclose, backend.aclose, watching.aclose):
            self._stay.push_async_callback(close)
        return watching

    async def send(
        self,
        method: str,
        path: str,
        identity: Identity | None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """A plain call of PostgREST, as anybody may make it; without identity as the service role. Not through the cutter."""
        token = self.stack.service_key if identity is None else await self.tokens.token(identity)
        sent = {
            "apikey": self.stack.service_key if identity is None else self.stack.anon_key,
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Prefer": "return=representation",
            **(headers or {}),
        }
        content = None if body is None else msgspec.json.encode(body)
        reply = await self._engine.send(Call(method, f"{self.stack.url}/rest/v1/{path}", sent, content, timeout=60.0))
        assert reply.status < 300, reply.body
        return msgspec.json.decode(reply.body) if reply.body else None

    async def add(self, identity: Identity, count: int = 1) -> list[tuple[str, int]]:
        """New customers: their ids and versions."""
        rows = [{"company_name": f"Company {n}"} for n in range(count)]
        return _written(await self.send("POST", "customers?select=id,version", identity, rows))

    async def change(self, identity: Identity, ids: Sequence[str], city: str) -> list[tuple[str, int]]:
        """Move customers to a city."""
        path = f"customers?id=in.({','.join(ids)})&select=id,version"
        return _written(await self.send("PATCH", path, identity, {"city": city}))

    async def everything(self, identity: Identity) -> list[Any]:
        """The ids and versions of all customers of the tenant."""
        found: list[Any] = []
        while True:
            path = f"customers?select=id,version&order=id&limit=1000&offset={len(found)}"
            page = await self.send("GET", path, identity)
            found += [msgspec.convert(row, _Row) for row in page]
            if len(page) < 1000:
                return found


class _Row(msgspec.Struct):
    id: str
    version: int


def _written(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["id"], row["version"]) for row in rows]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def own_stack(missing: Callable[[str], None]) -> AsyncIterator[Stack]:
    """A local Supabase of this module's own, which runs in the tests' event loop."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-realtime-"))
    try:
        async with running(folder) as stack:
            yield stack
    except Misconfigured as error:
        if any("not here" in problem for problem in error.problems):
            missing(str(error))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def world(own_stack: Stack) -> AsyncIterator[World]:
    async with AsyncExitStack() as stay:
        cutter = await stay.enter_async_context(cutting(urlsplit(own_stack.url).port or 0))
        yield World(own_stack, cutter, stay)
