"""What the suite cannot see from outside: the bounds of a watcher, the end of a watch, positions of another instance."""

from __future__ import annotations

import asyncio

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.backends.memory.feed import KEPT
from interlock.contract import Change, Identity, Request
from interlock.entities import ENTITIES, Customer
from interlock.errors import Unavailable
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

ME = Identity("u", "t", "admin")


def create(count: int) -> Request:
    rows = tuple(Customer(id=new_id(), company_name=f"C{number}") for number in range(count))
    return Request("create", "customers", ME, rows=rows, operation_id=new_id())


async def test_a_slow_watcher_gets_one_resync_and_then_what_is_new() -> None:
    memory = MemoryBackend(ENTITIES)
    watch = memory.changes("customers", ME)
    await memory.handle(create(KEPT + 1))
    assert (await anext(watch)).kind == "resync"
    await memory.handle(create(1))
    assert (await anext(watch)).kind == "created"


async def test_a_position_of_another_instance_is_a_resync() -> None:
    one, other = MemoryBackend(ENTITIES), MemoryBackend(ENTITIES)
    for backend in (one, other):
        await backend.handle(create(1))
    watch = one.changes("customers", ME)
    await one.handle(create(1))
    position = (await anext(watch)).position
    assert (await anext(other.changes("customers", ME, after=position))).kind == "resync"
    assert (await anext(one.changes("customers", ME, after="nonsense"))).kind == "resync"


async def test_closing_ends_every_watch_and_every_call() -> None:
    memory = MemoryBackend(ENTITIES)
    await memory.handle(create(1))
    watch = memory.changes("customers", ME)

    async def drain() -> list[Change]:
        return [change async for change in watch]

    watching = asyncio.create_task(drain())
    await asyncio.sleep(0)
    await memory.aclose()
    await memory.aclose()
    assert await watching == []
    assert not (await memory.probe()).healthy
    with pytest.raises(Unavailable):
        await memory.handle(Request("get", "customers", ME, ids=(new_id(),)))
