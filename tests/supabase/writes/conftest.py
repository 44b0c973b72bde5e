"""Backends on the stack, and somebody who writes to its tables without Interlock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.testing.conformance import Subject
from interlock.testing.harness import Caller
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


@pytest.fixture
def tokens(stack: Any) -> Tokens:
    return Tokens(stack.jwt_secret)


@pytest.fixture
async def backend(stack: Any, tokens: Tokens) -> AsyncIterator[SupabaseBackend]:
    backend = SupabaseBackend(SupabaseSettings(url=stack.url, anon_key=stack.anon_key), ALL, tokens=tokens)
    yield backend
    await backend.aclose()


@pytest.fixture
def caller(backend: SupabaseBackend) -> Caller:
    return Caller(Subject(backend))
