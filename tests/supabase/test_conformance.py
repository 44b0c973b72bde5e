"""The supabase backend passes the suite over a real PostgREST: the local stack's, or the project's that the environment names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Identity
from interlock.devstack import Stack
from interlock.entities import ENTITIES
from interlock.testing.conformance import (
    BackendConformance,
    ChangesConformance,
    ForwardingConformance,
    ProbesConformance,
    Subject,
)
from interlock.testing.differential import DifferentialConformance
from interlock.testing.samples import TEST_ENTITIES
from interlock.tokens import SupabaseIssuer

ALL = (*ENTITIES, *TEST_ENTITIES)


class Tokens:
    """Tokens that the project trusts."""

    def __init__(self, secret: str) -> None:
        self._issuer = SupabaseIssuer(secret)
        self._held: dict[Identity, str] = {}

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        if refresh or identity not in self._held:
            self._held[identity] = self._issuer.mint(identity, 3600)
        return self._held[identity]


@asynccontextmanager
async def backend_on(stack: Any) -> AsyncIterator[Subject]:
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    backend = SupabaseBackend(settings, ALL, tokens=Tokens(stack.jwt_secret))
    yield Subject(backend)
    await backend.aclose()


class TestSupabase(
    BackendConformance, ChangesConformance, ForwardingConformance, ProbesConformance, DifferentialConformance
):
    @pytest.fixture
    async def subject(self, stack: Any) -> AsyncIterator[Subject]:
        async with backend_on(stack) as subject:
            yield subject

    @pytest.fixture
    async def another(self, another_stack: Stack) -> AsyncIterator[Subject]:
        async with backend_on(another_stack) as subject:
            yield subject
