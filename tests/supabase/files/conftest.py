"""Files in the storage of the project under test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from interlock.backends.supabase.files import SupabaseFiles
from interlock.contract import Identity
from interlock.http import EngineName, open_engine
from interlock.tokens import SupabaseIssuer


class Tokens:
    """Tokens signed with the project's secret. `spoilt` of the first are out of date."""

    def __init__(self, secret: str, spoilt: int = 0) -> None:
        self._issuer = SupabaseIssuer(secret)
        self.spoilt = spoilt

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        if self.spoilt:
            self.spoilt -= 1
            return self._issuer.mint(identity, -60)
        return self._issuer.mint(identity, 600)


@pytest.fixture
def tokens(stack: Any) -> Tokens:
    return Tokens(stack.jwt_secret)


@pytest.fixture(params=["pyreqwest", "aiohttp"])
def engine_name(request: pytest.FixtureRequest) -> EngineName:
    return request.param  # type: ignore[no-any-return]  # one of the params


@pytest.fixture
async def files(stack: Any, tokens: Tokens, engine_name: EngineName) -> AsyncIterator[SupabaseFiles]:
    engine = open_engine(engine_name)
    store = SupabaseFiles(stack.url, stack.anon_key, engine=engine, tokens=tokens)
    yield store
    await store.aclose()
    await engine.aclose()
