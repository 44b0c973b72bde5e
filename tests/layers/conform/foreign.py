"""Somebody writes past a cached reader, and the reader sees it as soon as the backend tells of it; their own writes cost them nothing more."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tests.layers.conform.stacks import SETTINGS
from tests.patience import PATIENCE

from interlock.abilities import Subscribes
from interlock.contract import Backend, Response
from interlock.identifiers import new_id
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope
from interlock.layers.pipeline import Pipeline
from interlock.layers.watching import Watcher
from interlock.testing.harness import Caller, Subject
from interlock.testing.samples import SAMPLES

__all__ = ["Reader", "hears_of_strangers"]

Told = tuple[Scope, tuple[str, ...] | None]


class Reader:
    """An admin of a new tenant behind all layers, and what these are told."""

    def __init__(self, backend: Backend) -> None:
        told = Invalidation()
        self.pipeline = Pipeline(
            backend,
            service="samples",
            name="under test",
            settings=SETTINGS,
            told=told,
            watched=cast("Subscribes", backend),
        )
        self.caller = Caller(Subject(self.pipeline))
        self.heard: asyncio.Queue[Told] = asyncio.Queue()
        told.add(self)

    @property
    def watcher(self) -> Watcher:
        return cast("Watcher", self.pipeline.layers["watcher"])

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        self.heard.put_nowait((scope, records))

    def past(self, backend: Backend) -> Caller:
        """A colleague who writes to another backend, past the layers."""
        return Caller(Subject(backend), self.caller.colleague().identity)

    async def established(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.watcher.established(self.caller.identity.tenant_id, SAMPLES.resource)
        self.quiet()

    def quiet(self) -> None:
        """Nothing that was told until now counts."""
        while not self.heard.empty():
            self.heard.get_nowait()

    async def told_of(self, record_id: str | None) -> None:
        """Returns once the layers have been told of a record, or (None) of everything."""
        wanted = None if record_id is None else (record_id,)
        async with asyncio.timeout(PATIENCE):
            while True:
                scope, records = await self.heard.get()
                if scope[1] == SAMPLES.resource and records == wanted:
                    return

    async def get(self, record_id: str) -> tuple[Any, bool]:
        """The record, and whether the answer was kept."""
        answer: Response = await self.caller.handle(self.caller.request("get", SAMPLES, ids=(record_id,)))
        return answer.rows[0], answer.cached

    async def warm(self, record_id: str) -> None:
        """Until the record's answer is kept."""
        await self.get(record_id)
        assert (await self.get(record_id))[1]


async def hears_of_strangers(backend: Backend, elsewhere: Backend) -> None:
    """`elsewhere` is another way to the same records."""
    reader = Reader(backend)
    stranger = reader.past(elsewhere)
    try:
        row = await reader.caller.add(SAMPLES, label="x")
        mine = await reader.caller.add(SAMPLES, label="mine")
        await reader.established()
        await reader.warm(row.id)
        await reader.warm(mine.id)

        changed = await stranger.change(row, SAMPLES, label="theirs")
        await reader.told_of(row.id)
        assert await reader.get(row.id) == (changed, False)
        assert await reader.get(mine.id) == (mine, True), "what nobody changed was asked for again"

        mine = await reader.caller.change(mine, SAMPLES, label="mine again")
        await reader.warm(mine.id)
        reader.quiet()
        seen = await reader.caller.find(SAMPLES)
        assert (await reader.caller.find(SAMPLES)).cached
        added = await stranger.add(SAMPLES, label=new_id())
        await reader.told_of(added.id)
        # The echo came before that. (Where it even comes before the write is acknowledged, it is told of; the acknowledgement is so anyway.)
        assert await reader.get(mine.id) == (mine, True), "the echo of an own write emptied the cache"
        after = await reader.caller.find(SAMPLES)
        assert not after.cached
        assert {one.id for one in after.rows} - {one.id for one in seen.rows} == {added.id}

        await reader.warm(row.id)
        await stranger.remove(changed, SAMPLES)
        await reader.told_of(row.id)
        assert await reader.caller.get(SAMPLES, row.id) == ()
    finally:
        await reader.pipeline.aclose()
