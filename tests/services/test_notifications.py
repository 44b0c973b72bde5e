"""Notifications: everybody has their own, and nobody else's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from interlock.errors import Forbidden, Invalid, NotFound

from .harness import World

pytestmark = pytest.mark.anyio


async def send(world: World, to: str, title: str = "Hello") -> Any:
    return await world.as_("system").notifications.create(user_id=world.users[to].id, kind="note", title=title)


@pytest.mark.clock
async def test_reading_and_marking(world: World) -> None:
    first, second = await send(world, "viewer"), await send(world, "viewer")
    await send(world, "agent")
    own = world.viewer.notifications
    assert await own.unread_count() == 2
    read = await own.mark_read(first.id)
    assert read.read_at == world.clock.now
    world.clock.advance(hours=1)
    assert await own.mark_read(first.id) == read
    assert await own.mark_all_read() == 1
    assert await own.mark_all_read() == 0
    assert (await own.get(second.id)).read_at == world.clock.now
    assert await world.agent.notifications.unread_count() == 1


@pytest.mark.parametrize("who", ["viewer", "agent", "manager"])
async def test_those_of_others_are_not_there(world: World, who: str) -> None:
    foreign = await send(world, "admin")
    notifications = world.as_(who).notifications
    assert (await notifications.list(count="exact")).total == 0
    assert await notifications.get_many([foreign.id]) == ()
    assert (await notifications.aggregate())[0].values == (0,)
    assert (await notifications.list(id=foreign.id)).items == ()
    for call in (
        notifications.get(foreign.id),
        notifications.mark_read(foreign.id),
        notifications.update(foreign.id, title="Mine"),
    ):
        with pytest.raises(NotFound):
            await call
    outcomes = await notifications.bulk_update([foreign.id], {"read_at": world.clock.now})
    assert isinstance(outcomes[0].error, NotFound)
    assert await world.admin.notifications.get(foreign.id) == foreign


async def test_managers_delete_and_restore_only_their_own(world: World) -> None:
    foreign, own = await send(world, "viewer"), await send(world, "manager")
    notifications = world.manager.notifications
    for call in (notifications.delete(foreign.id), notifications.bulk_delete([own.id, foreign.id])):
        with pytest.raises(NotFound):
            await call
    await world.admin.notifications.delete(foreign.id)
    with pytest.raises(NotFound):
        await notifications.restore(foreign.id)
    await notifications.delete(own.id)
    assert (await notifications.restore(own.id)).deleted_at is None


@pytest.mark.clock
async def test_who_got_one_only_marks_it(world: World) -> None:
    own = await send(world, "agent")
    with pytest.raises(Forbidden, match="mark it read"):
        await world.agent.notifications.update(own.id, title="Other")
    with pytest.raises(Forbidden):
        await world.agent.notifications.update(own.id, user_id=world.users["viewer"].id)
    # A form sends all fields back.
    marked = await world.agent.notifications.update(own.id, title=own.title, read_at=world.clock.now)
    assert marked.read_at is not None
    assert (await world.admin.notifications.update(own.id, title="Other")).title == "Other"


async def test_for_whom_must_exist(world: World) -> None:
    with pytest.raises(Invalid, match="user_id"):
        await world.agent.notifications.create(user_id="nobody", kind="note", title="Hello")


@pytest.mark.parametrize("who", ["viewer", "admin"])
async def test_the_live_stream_tells_of_ones_own_only(world: World, who: str) -> None:
    stream = world.as_(who).notifications.live()
    seen: list[str] = []
    both = asyncio.Event()

    async def watch() -> None:
        async for change in stream:
            if change.row is not None:
                seen.append(change.row.title)
                if change.row.title == "last":
                    both.set()
                    return

    task = asyncio.create_task(watch())
    while not both.is_set():
        # Until the watcher is there, what is sent goes unseen; so send until it is seen.
        await send(world, "agent", "foreign")
        await send(world, who, "own")
        await send(world, who, "last")
        try:
            await asyncio.wait_for(asyncio.shield(both.wait()), 0.05)
        except TimeoutError:
            continue
    await task
    assert "foreign" not in seen
    assert seen[-1] == "last"
