"""Edge functions of the project under test, called by ours and by the official client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.services.harness import Clock, World
from tests.supabase.files.conftest import Tokens

from interlock.abilities import StoresFiles
from interlock.backends.supabase.backend import SupabaseBackend
from interlock.backends.supabase.client import SupabaseSettings
from interlock.backends.supabase.files import SupabaseFiles
from interlock.backends.supabase.functions import SupabaseFunctions
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.http import open_engine
from interlock.identifiers import new_id
from interlock.services import Services


class Tenant:
    """A tenant with a user of each role: `manager` and so on are identities, `services(role)` what Interlock gives them."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name

    def __getitem__(self, role: str) -> Identity:
        return self._world.identities[f"{self.name}.{role}"]

    def services(self, role: str = "manager") -> Services:
        return self._world.as_(f"{self.name}.{role}")


@pytest.fixture
def tokens(stack: Any) -> Tokens:
    return Tokens(stack.jwt_secret)


@pytest.fixture
async def functions(stack: Any, tokens: Tokens) -> AsyncIterator[SupabaseFunctions]:
    caller = SupabaseFunctions(stack.url, stack.anon_key, tokens=tokens)
    yield caller
    await caller.aclose()


@pytest.fixture
async def world(stack: Any, tokens: Tokens) -> AsyncIterator[World]:
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key, realtime=False)
    engine = open_engine()
    backend = SupabaseBackend(settings, ENTITIES, tokens=tokens, engine=engine)
    files = SupabaseFiles(stack.url, stack.anon_key, engine=engine, tokens=tokens)
    made = World(backend, Clock())
    made.serve(backend, "test", "files", abilities={StoresFiles: files})
    yield made
    await files.aclose()
    await backend.aclose()


async def _tenant(world: World) -> Tenant:
    name = new_id()
    await world.populate(name)
    return Tenant(world, name)


@pytest.fixture
async def ours(world: World) -> Tenant:
    return await _tenant(world)


@pytest.fixture
async def theirs(world: World) -> Tenant:
    return await _tenant(world)


@pytest.fixture
async def http(stack: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"{stack.url}/functions/v1/", headers={"apikey": stack.anon_key}) as client:
        yield client
