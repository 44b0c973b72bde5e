"""Server-sent events over a connection that keeps breaking: every change is told once, or covered by what is read after a resync."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.patience import PATIENCE
from tests.supabase.realtime.cutting import Account, cutting, moments

from interlock.app import App
from interlock.backends.rest import INTERLOCK, GatewayBackend, RestSettings
from interlock.contract import MAX_LIMIT, Identity
from interlock.entities import ENTITIES
from interlock.errors import Unavailable
from interlock.gateway import create_app
from interlock.gateway.server import serving
from interlock.settings import Settings
from interlock.tokens import TokenIssuer

pytestmark = pytest.mark.anyio

ME = Identity("01900000-0000-7000-8000-0000000000ab", "01900000-0000-7000-8000-0000000000aa", "admin")
THEM = Identity("01900000-0000-7000-8000-0000000000bb", "01900000-0000-7000-8000-0000000000ba", "admin")
WRITERS = 4


class Tokens:
    def __init__(self, issuer: TokenIssuer) -> None:
        self._issuer = issuer

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        return self._issuer.mint(identity, 600)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    app = await App.open(Settings(api_mode="sql", home=tmp_path, seed_size=0, environment="production", rate_limit=0))
    try:
        yield app
    finally:
        await app.aclose()


async def test_each_change_is_told_once_over_a_stream_that_is_cut(app: App) -> None:
    await each_change_is_told_once(app, seed=1, changes=1000, cuts=4)


async def each_change_is_told_once(app: App, *, seed: int, changes: int, cuts: int) -> None:
    """Four writers make changes while the stream of a watcher is cut."""
    written: set[tuple[str, int]] = set()
    async with serving(create_app(app)) as address, cutting(urlsplit(address).port or 0) as cutter:
        api = GatewayBackend(
            RestSettings(base_url=f"{cutter.url}/api/v1", dialect=INTERLOCK), ENTITIES, tokens=Tokens(app.issuer)
        )
        ends = moments(seed, cuts, changes)

        async def write(place: int) -> None:
            draw = random.Random(seed * 100 + place)
            mine = app.services(ME).customers
            while len(written) < changes:
                if draw.random() < 0.1:
                    await app.services(THEM).customers.create(company_name="Theirs")
                outcomes = await mine.bulk_create([{"company_name": "Acme"}] * draw.randrange(1, 40))
                rows = [outcome.row for outcome in outcomes if outcome.row is not None]
                written.update((row.id, row.version) for row in rows)
                again = [row.id for row in rows if draw.random() < 0.5]
                outcomes = await mine.bulk_update(again, {"city": str(draw.random())})
                written.update((outcome.row.id, outcome.row.version) for outcome in outcomes if outcome.row is not None)
                while ends and ends[0] <= len(written):
                    ends.pop(0)
                    cutter.cut()
                    await asyncio.sleep(draw.random() / 5)

        account = Account(lambda: everything(app))
        stream = api.changes("customers", ME, "start")
        async with aclosing(stream):
            following = asyncio.ensure_future(account.follow(stream))
            await account.begun.wait()
            await asyncio.gather(*(write(place) for place in range(WRITERS)))
            await account.until_whole(written, following, PATIENCE)
            following.cancel()
            await asyncio.wait((following,))
        await api.aclose()
    assert cutter.cuts > cuts
    assert not account.doubled
    assert not account.disordered
    assert account.tenants == {ME.tenant_id}


async def everything(app: App) -> list[Any]:
    return [row async for row in app.services(ME).customers.iterate(deleted="with", page=MAX_LIMIT)]


async def test_a_stream_that_is_cut_before_its_first_change_says_so(app: App) -> None:
    async with serving(create_app(app)) as address, cutting(urlsplit(address).port or 0) as cutter:
        api = GatewayBackend(
            RestSettings(base_url=f"{cutter.url}/api/v1", dialect=INTERLOCK), ENTITIES, tokens=Tokens(app.issuer)
        )
        for attempt in range(50):
            cutter.answered.clear()
            step = asyncio.ensure_future(anext(api.changes("customers", ME)))
            await cutter.answered.wait()
            await asyncio.sleep(attempt * 0.01)
            cutter.cut()
            try:
                async with asyncio.timeout(PATIENCE):
                    change = await step
            except Unavailable:
                continue  # it was cut before the answer's head was read: a watch that never began
            break
        assert change.kind == "resync"
        await api.aclose()
