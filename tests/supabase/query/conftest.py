"""The backend on the project under test, asked by both of its ways: by a URL, and by a body where a URL would be too long."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Identity
from interlock.entities import ENTITIES
from interlock.testing.conformance import Caller, Subject
from interlock.testing.samples import TEST_ENTITIES
from interlock.tokens import SupabaseIssuer


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
async def opened(stack: Any) -> AsyncIterator[Subject]:
    """The backend on a project."""
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    backend = SupabaseBackend(settings, (*ENTITIES, *TEST_ENTITIES), tokens=Tokens(stack.jwt_secret))
    yield Subject(backend)
    await backend.aclose()


@pytest.fixture
async def subject(stack: Any) -> AsyncIterator[Subject]:
    async with opened(stack) as subject:
        yield subject


@pytest.fixture
def caller(subject: Subject) -> Caller:
    """An admin of a new, empty tenant."""
    return Caller(subject)


@pytest.fixture(params=["by URL", "at length"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which way questions go."""
    if request.param == "at length":
        always_at_length(monkeypatch)
    return str(request.param)


def always_at_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """No URL is short enough."""
    monkeypatch.setattr("interlock.backends.supabase.reads.LONGEST_URL", 0)
    monkeypatch.setattr("interlock.backends.supabase.reads.IDS_IN_A_URL", 0)
