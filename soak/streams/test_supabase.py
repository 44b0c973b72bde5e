"""Realtime over a connection that is cut twenty times, for ten thousand changes."""

from __future__ import annotations

import pytest
from tests.supabase.realtime.conftest import NEVER, World, anyio_backend, own_stack, world
from tests.supabase.realtime.test_cut import each_change_is_told_once

from interlock.backends.supabase.changes import Pace

__all__ = ["anyio_backend", "own_stack", "world"]

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("run", "pace"), [(0, Pace()), (1, NEVER), (2, NEVER)], ids=["looking", "told", "told again"])
async def test_ten_thousand_changes_and_twenty_cuts(
    world: World, seed: int, run: int, pace: Pace, figures: dict[str, int]
) -> None:
    await each_change_is_told_once(world, seed=seed + run, pace=pace, changes=10_000, cuts=20)
    figures.update(changes=10_000, cuts=20)
