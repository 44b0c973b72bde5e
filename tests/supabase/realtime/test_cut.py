"""Changes by four writers while the way to Supabase is cut: all are told once, and none of another tenant."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from functools import partial

import pytest
from tests.patience import PATIENCE
from tests.supabase.realtime.conftest import NEVER, World, somebody
from tests.supabase.realtime.cutting import Account, moments

from interlock.backends.supabase.changes import Pace
from interlock.contract import Identity

pytestmark = pytest.mark.anyio

WRITERS = 4


async def test_each_change_is_told_once_over_a_connection_that_is_cut(world: World) -> None:
    await each_change_is_told_once(world, seed=2, pace=NEVER, changes=1000, cuts=4)


async def each_change_is_told_once(world: World, *, seed: int, pace: Pace, changes: int, cuts: int) -> None:
    """Four writers make changes while the connection of three watchers is cut, and the relay restarted.

    With `NEVER`, nothing is found by looking: Realtime told of every change, or of being back.
    """
    me, them = somebody(), somebody()
    colleague = Identity(somebody().user_id, me.tenant_id, "viewer")
    written: set[tuple[str, int]] = set()
    theirs: set[tuple[str, int]] = set()
    ends = moments(seed, cuts, changes)
    restart = ends[cuts // 2]

    async def write(place: int) -> None:
        nonlocal restart
        draw = random.Random(seed * 100 + place)
        while len(written) < changes:
            if draw.random() < 0.2:
                theirs.update(await world.add(them, draw.randrange(1, 20)))
            rows = await world.add(me, draw.randrange(1, 60))
            written.update(rows)
            for _ in range(draw.randrange(3)):
                again = [record_id for record_id, _ in rows if draw.random() < 0.5]
                if again:
                    written.update(await world.change(me, again, str(draw.random())))
            while ends and ends[0] <= len(written):
                if ends.pop(0) == restart:
                    await world.stack.stop_part("relay")
                    await world.stack.start_part("relay")
                world.cutter.cut()
                await asyncio.sleep(draw.random() / 4)

    watching = world.changes(pace=pace)
    mine, alike, other = (Account(partial(world.everything, who)) for who in (me, colleague, them))
    streams = [watching.watch("customers", identity, "start") for identity in (me, colleague, them)]
    async with aclosing(streams[0]), aclosing(streams[1]), aclosing(streams[2]):
        following = [
            asyncio.ensure_future(account.follow(stream))
            for account, stream in zip((mine, alike, other), streams, strict=True)
        ]
        # A watch that is cut before it began is an error of its caller's, told at once; one that began goes on.
        for account in (mine, alike, other):
            await account.begun.wait()
        await asyncio.gather(*(write(place) for place in range(WRITERS)))
        for account, all_of_it, task in zip((mine, alike, other), (written, written, theirs), following, strict=True):
            await account.until_whole(all_of_it, task, PATIENCE)
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    assert world.cutter.cuts >= cuts
    for account, tenant in ((mine, me), (alike, me), (other, them)):
        assert account.tenants == {tenant.tenant_id}
        assert not account.doubled
        assert not account.disordered
        assert account.resyncs == 1, "the log keeps what a cut hid; only the first position was unknown"
    assert not set(mine.told) & set(other.told)
