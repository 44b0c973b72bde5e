"""Watching a Supabase project while its parts stop, tokens expire, users are revoked and the log is pruned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import asyncpg
import pytest
import structlog
from structlog.testing import capture_logs
from tests.patience import PATIENCE
from tests.supabase.realtime.conftest import NEVER, Tokens, World, somebody, until

from interlock.backends.supabase.changes import Changes, Pace
from interlock.contract import Change, Identity
from interlock.errors import Forbidden, Unauthenticated, Unavailable
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

QUICK = Pace(told=0.2, untold=0.1)


async def taken(stream: AsyncGenerator[Change, None], count: int = 1) -> list[Change]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]


async def begun(watching: Changes, who: Identity, resource: str = "customers") -> AsyncGenerator[Change, None]:
    """A watch that misses nothing from here on."""
    stream = watching.watch(resource, who, "start")
    assert (await taken(stream))[0].kind == "resync"
    return stream


async def live(watching: Changes) -> None:
    """Returns when Realtime tells every watcher."""
    await until(lambda: bool(watching._bells) and all(bell.live for bell in watching._bells))


async def heard(watching: Changes, stream: AsyncGenerator[Change, None]) -> asyncio.Future[list[Change]]:
    """Somebody waiting for the next change, with Realtime telling."""
    step = asyncio.ensure_future(taken(stream))
    await live(watching)
    return step


async def test_realtime_tells_and_the_log_is_read(world: World) -> None:
    me = somebody()
    watching = world.changes(pace=NEVER)
    stream = await begun(watching, me)
    for _ in range(5):
        step = await heard(watching, stream)
        ((record_id, version),) = await world.add(me)
        (change,) = await step
        assert (change.kind, change.record_id, change.version) == ("created", record_id, version)
        assert (change.row.id, change.row.tenant_id, change.row.version) == (record_id, me.tenant_id, 1)


async def test_without_realtime_the_log_is_looked_at(world: World) -> None:
    me = somebody()
    watching = world.changes(realtime=False, pace=QUICK)
    stream = await begun(watching, me)
    ((record_id, _),) = await world.add(me)
    assert [change.record_id for change in await taken(stream)] == [record_id]
    assert not watching._lines


async def test_every_verb_is_told_of_with_its_kind(world: World) -> None:
    me = somebody()
    stream = await begun(world.changes(), me)
    ((record_id, _),) = await world.add(me)
    await world.change(me, [record_id], "Bergen")
    await world.send("PATCH", f"customers?id=eq.{record_id}", me, {"deleted_at": "now"})
    await world.send("PATCH", f"customers?id=eq.{record_id}", me, {"deleted_at": None})
    changes = await taken(stream, 4)
    assert [change.kind for change in changes] == ["created", "updated", "deleted", "restored"]
    assert [change.version for change in changes] == [1, 2, 3, 4]
    await world.send("DELETE", f"customers?id=eq.{record_id}", None)
    (gone,) = await taken(stream)
    assert (gone.kind, gone.record_id, gone.row) == ("deleted", record_id, None)


async def test_a_watch_resumes_after_any_change_on_another_connection(world: World) -> None:
    me = somebody()
    stream = await begun(world.changes(), me)
    rows = await world.add(me, 7)
    changes = await taken(stream, 7)
    rows += await world.add(me, 2)
    assert len({change.position for change in changes}) == 7
    for place, change in enumerate(changes, 1):
        resumed = world.changes(realtime=False).watch("customers", me, change.position)
        assert [(each.record_id, each.version) for each in await taken(resumed, 9 - place)] == rows[place:]
        await resumed.aclose()


async def test_a_watcher_who_reads_late_is_told_of_everything_in_bounded_pages(world: World) -> None:
    me = somebody()
    stream = await begun(world.changes(), me)
    rows = [row for _ in range(4) for row in await world.add(me, 700)]
    changes = await taken(stream, len(rows))
    assert [(change.record_id, change.version) for change in changes] == rows


async def test_tenants_roles_and_positions_are_kept_apart(world: World) -> None:
    me, them = somebody(), somebody()
    watching = world.changes(pace=NEVER)
    mine, theirs = await begun(watching, me), await begun(watching, them)
    my_step, their_step = await heard(watching, mine), await heard(watching, theirs)
    ((record_id, _),) = await world.add(me)
    (change,) = await my_step
    assert change.record_id == record_id
    ((other, _),) = await world.add(them)
    (change,) = await their_step
    assert (change.record_id, change.row.tenant_id) == (other, them.tenant_id)
    # My position, in another's hands, is a place in the log and nothing more.
    stolen = watching.watch("customers", them, change.position)
    await world.add(me)
    ((last, _),) = await world.add(them)
    assert [each.record_id for each in await taken(stolen)] == [last]
    assert len(watching._lines) == 2, "each identity has a connection of its own"


async def test_watchers_of_one_identity_share_a_connection(world: World) -> None:
    me = somebody()
    watching = world.changes(pace=NEVER)
    streams = [await begun(watching, me) for _ in range(3)] + [await begun(watching, me, "tags")]
    assert len(watching._lines) == 1
    steps = [await heard(watching, stream) for stream in streams[:3]]
    ((record_id, _),) = await world.add(me)
    assert [(await step)[0].record_id for step in steps] == [record_id] * 3
    for stream in streams:
        await stream.aclose()
    assert not watching._lines


async def test_a_role_without_the_right_is_refused(world: World) -> None:
    viewer = Identity(new_id(), new_id(), "viewer")
    with pytest.raises(Forbidden):
        await taken(world.changes().watch("audit", viewer))


async def test_a_token_is_renewed_before_it_expires_and_nothing_is_missed(world: World) -> None:
    me = somebody()
    tokens = Tokens(world.stack.jwt_secret, ttl=3.0)
    watching = world.changes(tokens=tokens, pace=NEVER)
    stream = await begun(watching, me)
    while tokens.minted < 4:
        step = await heard(watching, stream)
        await until(partial(_another, tokens, tokens.minted))
        ((record_id, _),) = await world.add(me)
        assert [change.record_id for change in await step] == [record_id]


def _another(tokens: Tokens, before: int) -> bool:
    return tokens.minted > before


async def test_a_connection_whose_token_expired_is_made_again(world: World) -> None:
    """The token source slept: the server refuses the channel, and the watch goes on with a new token."""
    me = somebody()
    tokens = Tokens(world.stack.jwt_secret, ttl=1.5)
    watching = world.changes(tokens=tokens, pace=QUICK)
    stream = await begun(watching, me)
    await live(watching)
    world.cutter.shut = True
    world.cutter.cut()
    await asyncio.sleep(2.0)
    world.cutter.shut = False
    ((record_id, _),) = await world.add(me)
    assert [change.record_id for change in await taken(stream)] == [record_id]


async def test_a_revoked_user_is_told_so(world: World) -> None:
    me = somebody()
    stream = await begun(world.changes(pace=QUICK), me)
    step = asyncio.ensure_future(taken(stream))
    database = await asyncpg.connect(world.stack.database_url)
    await database.execute(
        "insert into app.memberships (tenant_id, user_id, role, revoked_at) values ($1, $2, 'admin', now())",
        me.tenant_id,
        me.user_id,
    )
    await database.close()
    with pytest.raises(Unauthenticated, match="deactivated"):
        await step


async def test_a_user_who_is_revoked_within_a_request_is_told_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watching = world.changes(pace=QUICK)
    stream = await begun(watching, somebody())
    refusals = [Unauthenticated("the user was deactivated or deleted"), Forbidden("the role may not do this")]

    async def refused(*_: Any) -> bytes:
        raise refusals.pop()

    monkeypatch.setattr(watching, "_call", refused)
    with pytest.raises(Unauthenticated, match="deactivated"):
        await taken(stream)


async def test_a_log_in_that_ended_is_told_so(world: World) -> None:
    me = somebody()
    tokens = Tokens(world.stack.jwt_secret)
    stream = await begun(world.changes(tokens=tokens, pace=QUICK), me)
    step = asyncio.ensure_future(taken(stream))
    tokens.refused = Unauthenticated()
    with pytest.raises(Unauthenticated):
        await step


async def test_a_realtime_that_is_away_is_said_and_looked_around(world: World) -> None:
    me = somebody()
    watching = world.changes(pace=Pace(told=3600.0, untold=0.1))
    stream = await begun(watching, me)
    step = await heard(watching, stream)
    await world.add(me)
    await step
    with capture_logs() as log:
        await world.stack.stop_part("relay")
        try:
            rows = [*await world.add(me), *await world.add(me)]
            assert [(change.record_id, change.version) for change in await taken(stream, 2)] == rows
        finally:
            await world.stack.start_part("relay")
        step = await heard(watching, stream)
        ((record_id, _),) = await world.add(me)
        assert [change.record_id for change in await step] == [record_id]
    events = [entry["event"] for entry in log]
    assert "realtime is away; changes are polled for" in events
    assert events[-1] == "realtime tells of changes"


@pytest.mark.parametrize("part", ["postgrest", "postgres", "gateway"])
async def test_a_part_that_stops_and_comes_back_costs_no_change(world: World, part: Any) -> None:
    me = somebody()
    watching = world.changes(pace=Pace(told=1.0, untold=0.1))
    stream = await begun(watching, me)
    step = await heard(watching, stream)
    await world.add(me)
    await step
    await world.stack.stop_part(part)
    step = asyncio.ensure_future(taken(stream, 3))
    watching._bells.copy().pop().ring()
    await asyncio.sleep(0.5)
    assert not step.done()
    await world.stack.start_part(part)
    rows = await _persistently(world, me, 3)
    assert [(change.record_id, change.version) for change in await step] == rows
    assert not {change.kind for change in step.result()} & {"resync"}


async def _persistently(world: World, who: Identity, count: int) -> list[tuple[str, int]]:
    """PostgREST may need a moment to find its database again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await world.add(who, count)
            except (AssertionError, Unavailable):
                await asyncio.sleep(0.1)


async def test_a_project_that_is_not_there_is_unavailable_at_once(world: World) -> None:
    world.cutter.shut = True
    with pytest.raises(Unavailable):
        await taken(world.changes().watch("customers", somebody()))


async def test_who_comes_after_the_log_was_pruned_reads_again(world: World) -> None:
    me = somebody()
    stream = await begun(world.changes(), me)
    await world.add(me, 3)
    (first, *_) = await taken(stream, 3)
    await stream.aclose()
    database = await asyncpg.connect(world.stack.database_url)
    await database.execute("update public.changes set at = at - interval '8 days' where tenant_id = $1", me.tenant_id)
    await database.execute("select app.prune_changes()")
    await database.close()
    resumed = world.changes().watch("customers", me, first.position)
    (change,) = await taken(resumed)
    assert change.kind == "resync"
    ((record_id, _),) = await world.add(me)
    assert [each.record_id for each in await taken(resumed)] == [record_id]


async def test_a_deaf_connection_is_noticed_and_made_again(world: World) -> None:
    me = somebody()
    watching = world.changes(pace=Pace(told=0.3, untold=0.1))
    stream = await begun(watching, me)
    step = await heard(watching, stream)
    (line,) = watching._lines.values()
    line._ring = lambda *_: None  # type: ignore[method-assign]  # the connection stands, and says nothing
    with capture_logs() as log:
        for _ in range(3):
            ((record_id, _),) = await world.add(me)
            assert [change.record_id for change in await step] == [record_id]
            step = asyncio.ensure_future(taken(stream))
        await until(lambda: any("told nothing" in entry.get("reason", "") for entry in log))
    step.cancel()


async def test_closing_ends_every_watch_and_leaves_no_task(world: World) -> None:
    me = somebody()
    before = asyncio.all_tasks()
    watching = world.changes(pace=NEVER)
    streams = [await begun(watching, me), await begun(watching, somebody()), await begun(watching, me, "tags")]
    await live(watching)
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    await watching.aclose()
    for step in waiting:
        with pytest.raises(StopAsyncIteration):
            await step
    await watching.aclose()
    assert await _ours(before) == set()


async def test_who_stops_watching_leaves_no_task(world: World) -> None:
    before = asyncio.all_tasks()
    watching = world.changes(pace=NEVER)
    for turn in range(4):
        stream = await begun(watching, somebody())
        step = asyncio.ensure_future(anext(stream))
        if turn % 2:
            await live(watching)
        else:
            await asyncio.sleep(0.005 * turn)
        step.cancel()
        await asyncio.wait((step,))
        await stream.aclose()
    assert not watching._lines
    await watching.aclose()
    assert await _ours(before) == set()


async def _ours(before: set[asyncio.Task[Any]]) -> set[str]:
    """The tasks of watching and of the official client that run on; those that were ended get a turn to end."""
    for _ in range(5):
        await asyncio.sleep(0)
    left = {repr(task) for task in asyncio.all_tasks() - before if not task.done()}
    return {task for task in left if "realtime" in task.replace("tests/supabase/realtime", "") or "wakeups" in task}


async def test_the_log_holds_no_token_and_no_key(world: World) -> None:
    me = somebody()
    structlog.reset_defaults()
    with capture_logs() as log:
        watching = world.changes(pace=QUICK)
        stream = await begun(watching, me)
        await live(watching)
        world.cutter.cut()
        await world.add(me)
        await taken(stream)
    told = repr(log)
    assert world.stack.anon_key not in told
    assert (await world.tokens.token(me)) not in told
