"""Watching a service that moves to Supabase, away from it, and on: the watcher is told to read again, and misses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path

import pytest
from tests.switching import test_watching as watching
from tests.switching.test_switching import real_api

from interlock.app import App
from interlock.contract import Identity
from interlock.devstack import Stack
from interlock.identifiers import new_id
from interlock.settings import Settings

__all__ = ["real_api"]

pytestmark = pytest.mark.anyio

PAIRS = [pair for pair in permutations(("mock", "sql", "real", "supabase"), 2) if "supabase" in pair]


@pytest.fixture
async def app(tmp_path: Path, real_api: str, own_stack: Stack) -> AsyncIterator[App]:
    settings = Settings(
        home=tmp_path,
        seed_size=0,
        api_base_url=real_api,
        environment="production",
        supabase_url=own_stack.url,
        supabase_anon_key=own_stack.anon_key,
        supabase_jwt_secret=own_stack.jwt_secret,
    )
    app = await App.open(settings)
    try:
        yield app
    finally:
        await app.aclose()


@pytest.fixture(autouse=True)
def tenants_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project outlasts a test, and so do its rows."""
    for name in ("ADMIN", "OTHER"):
        monkeypatch.setattr(watching, name, Identity(new_id(), new_id(), "admin"))


@pytest.mark.parametrize(("old", "new"), PAIRS)
async def test_a_watcher_misses_nothing_over_a_switch_and_back(app: App, old: str, new: str) -> None:
    await watching.test_a_watcher_misses_nothing_over_a_switch_and_back(app, old, new)


async def test_a_watcher_who_stopped_reading_keeps_no_project_open(app: App) -> None:
    await watching.test_a_watcher_who_stopped_reading_keeps_no_backend_alive(app, "supabase")


async def test_a_watch_leaves_no_task_behind(app: App) -> None:
    await watching.test_a_watch_leaves_no_task_behind(app, "supabase")
