"""The services' own tests, over Supabase: in tenants that nobody else uses, under the database's own clock and policies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.services.conftest import clock, memory
from tests.services.harness import ALL, Clock, World
from tests.supabase.test_conformance import Tokens

from interlock.abilities import SignsUrls, StoresFiles
from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.backends.supabase.files import SupabaseFiles
from interlock.entities import ENTITIES
from interlock.http import open_engine
from interlock.identifiers import new_id

__all__ = ["clock", "memory", "world"]


@pytest.fixture
async def world(stack: Any, clock: Clock, anyio_backend: str) -> AsyncIterator[World]:
    tokens = Tokens(stack.jwt_secret)
    backend = SupabaseBackend(SupabaseSettings(url=stack.url, anon_key=stack.anon_key), ENTITIES, tokens=tokens)
    engine = open_engine("pyreqwest")
    files = SupabaseFiles(stack.url, stack.anon_key, engine=engine, tokens=tokens)
    world = World(backend, clock, tenants={"acme": new_id(), "globex": new_id()})
    world.serve(backend, "test", *ALL, abilities={StoresFiles: files, SignsUrls: files})
    await world.populate()
    yield world
    await backend.aclose()
    await engine.aclose()
