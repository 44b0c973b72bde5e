"""Watching on a virtual clock: foreign writes end kept answers, own echoes do not, and a stream that breaks costs what it must."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from structlog.testing import capture_logs

from interlock.backends.memory import MemoryBackend
from interlock.contract import Change, Identity, Query, Request, Response
from interlock.entities import ENTITIES
from interlock.errors import Unauthenticated, Unavailable, Unsupported
from interlock.identifiers import new_id
from interlock.layers.caching import Cache, CacheSettings
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope
from interlock.layers.watching import Watcher, WatchSettings, system_of
from interlock.testing.harness import Caller, Subject
from interlock.testing.simulation import simulate

TAGS = next(entity for entity in ENTITIES if entity.resource == "tags")
SETTINGS = WatchSettings(idle=100.0, scopes=3, rest=10.0)


class Forgotten:
    """What the layers that keep answers are told."""

    def __init__(self, told: Invalidation) -> None:
        self.told: list[tuple[Scope, tuple[str, ...] | None]] = []
        told.add(self)

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        self.told.append((scope, records))


class Streams:
    """A source whose streams do as they are told."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], asyncio.Queue[Change | Exception | None]] = {}
        self.asked: list[tuple[float, str, Identity, str | None]] = []
        self.refusing: Exception | None = None

    async def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        self.asked.append((asyncio.get_running_loop().time(), resource, identity, after))
        if self.refusing is not None:
            raise self.refusing
        key = (identity.tenant_id, resource)
        queue = self.open[key] = asyncio.Queue()
        queue.put_nowait(Change(kind="resync", resource=resource))
        try:
            while (given := await queue.get()) is not None:
                if isinstance(given, Exception):
                    raise given
                yield given
        finally:
            if self.open.get(key) is queue:
                del self.open[key]


class Answering:
    """A backend that answers nothing in particular."""

    async def handle(self, request: Request) -> Response:
        return Response()


def read(tenant: str = "t", resource: str = "tags", *, user: str = "u") -> Request:
    return Request("find", resource, Identity(user, tenant, "viewer"), query=Query())


def changed(record: str, version: int, kind: Any = "updated") -> Change:
    return Change(kind=kind, resource="tags", record_id=record, version=version)


def simulated(work: Callable[[], Coroutine[Any, Any, None]], seeds: int = 10) -> None:
    async def watched(_: random.Random) -> None:
        troubles: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        await work()
        assert not troubles, troubles

    for seed in range(seeds):
        simulate(watched, seed)


def built(source: Any, settings: WatchSettings = SETTINGS) -> tuple[Watcher, Forgotten]:
    told = Invalidation()
    return Watcher(Answering(), source, told, settings, draw=random.Random(1)), Forgotten(told)


async def told(forgotten: Forgotten, count: int) -> None:
    async with asyncio.timeout(1):
        while len(forgotten.told) < count:  # noqa: ASYNC110 - the clock is virtual
            await asyncio.sleep(0.001)


def test_what_is_read_is_followed_as_the_system_until_nothing_is_kept() -> None:
    async def work() -> None:
        source = Streams()
        watcher, forgotten = built(source)
        assert not source.asked
        await watcher.handle(read())
        await watcher.established("t", "tags")
        ((_, resource, identity, after),) = source.asked
        assert (resource, identity, after) == ("tags", system_of("t"), "start")
        assert forgotten.told == [(("t", "tags"), None)]
        await asyncio.sleep(90)
        await watcher.handle(read())
        await asyncio.sleep(90)
        assert (watcher.live, len(source.asked)) == (1, 1)
        await asyncio.sleep(60)
        assert (watcher.following, source.open) == (0, {})
        await watcher.aclose()

    simulated(work)


def test_a_change_ends_what_is_kept_of_its_record_and_a_gap_ends_all() -> None:
    async def work() -> None:
        source = Streams()
        watcher, forgotten = built(source)
        await watcher.established("t", "tags")
        forgotten.told.clear()
        stream = source.open["t", "tags"]
        stream.put_nowait(changed("r", 2))
        stream.put_nowait(Change(kind="resync", resource="tags"))
        await told(forgotten, 2)
        assert forgotten.told == [(("t", "tags"), ("r",)), (("t", "tags"), None)]
        assert watcher.heard == 1
        await watcher.aclose()

    simulated(work)


def test_a_stream_that_breaks_is_begun_anew_and_costs_the_scope_twice() -> None:
    async def work() -> None:
        source = Streams()
        watcher, forgotten = built(source)
        await watcher.established("t", "tags")
        await asyncio.sleep(50)
        forgotten.told.clear()
        with capture_logs() as logs:
            source.open["t", "tags"].put_nowait(Unavailable("gone"))
            await told(forgotten, 1)
            assert watcher.live == 0
            await watcher.established("t", "tags")
        assert forgotten.told == [(("t", "tags"), None)] * 2
        assert len(source.asked) == 2
        assert [log["reason"] for log in logs] == ["unavailable"]
        source.open["t", "tags"].put_nowait(None)
        await told(forgotten, 3)
        await watcher.established("t", "tags")
        await watcher.aclose()

    simulated(work)


@pytest.mark.parametrize("error", [Unavailable("away"), Unauthenticated("no"), RuntimeError("a bug")])
def test_who_is_refused_asks_ever_more_seldom_and_forgets_nothing(error: Exception) -> None:
    async def work() -> None:
        source = Streams()
        source.refusing = error
        watcher, forgotten = built(source, WatchSettings(idle=10_000.0))
        await watcher.handle(read())
        await asyncio.sleep(3600)
        assert 100 < len(source.asked) < 300
        waits = [later[0] - earlier[0] for earlier, later in zip(source.asked, source.asked[1:], strict=False)]
        assert waits[0] >= 0.1
        assert all(15 <= wait <= 30 for wait in waits[10:])
        assert len(set(waits[10:])) > 50, "the attempts have no jitter"
        assert not forgotten.told
        source.refusing = None
        await watcher.established("t", "tags")
        await watcher.aclose()

    simulated(work, 2)


def test_streams_that_end_at_once_are_not_begun_at_once() -> None:
    async def work() -> None:
        source = Streams()
        watcher, _ = built(source)
        for _ in range(30):
            await watcher.established("t", "tags")
            source.open["t", "tags"].put_nowait(None)
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() > 300
        await watcher.aclose()

    simulated(work, 2)


def test_what_cannot_be_watched_is_asked_once() -> None:
    async def work() -> None:
        source = Streams()
        source.refusing = Unsupported("it", "no changes here")
        watcher, _ = built(source)
        with pytest.raises(Unsupported):
            await watcher.established("t", "tags")
        await watcher.handle(read("other"))
        await asyncio.sleep(1000)
        assert len(source.asked) == 1
        assert watcher.following == 0
        await watcher.aclose()

    simulated(work)


def test_the_scope_read_longest_ago_makes_room_but_not_at_once() -> None:
    async def work() -> None:
        source = Streams()
        watcher, _ = built(source)
        for tenant in "abc":
            await watcher.established(tenant, "tags")
            await asyncio.sleep(4)
        await watcher.handle(read("a"))
        await watcher.handle(read("d"))
        await asyncio.sleep(0.1)
        assert sorted(tenant for tenant, _ in source.open) == ["a", "b", "c"], "b was read only 8 seconds ago"
        await asyncio.sleep(4)
        await watcher.established("d", "tags")
        await asyncio.sleep(0.1)
        assert sorted(tenant for tenant, _ in source.open) == ["a", "c", "d"]
        assert watcher.following == 3
        await watcher.aclose()
        assert not source.open

    simulated(work)


def test_a_stream_that_is_no_generator_is_closed_too() -> None:
    closed: list[bool] = []

    class Stream:
        def __aiter__(self) -> AsyncIterator[Change]:
            return self

        async def __anext__(self) -> Change:
            await asyncio.sleep(1)
            return Change(kind="resync", resource="tags")

        async def aclose(self) -> None:
            closed.append(True)

    class Source:
        def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
            return Stream()

    async def work() -> None:
        watcher, _ = built(Source())
        await watcher.established("t", "tags")
        await watcher.aclose()
        assert closed.pop()

    simulated(work, 3)


def test_closing_ends_every_stream_and_whoever_waits() -> None:
    async def work() -> None:
        source = Streams()
        source.refusing = Unavailable("away")
        watcher, _ = built(source)
        waiting = asyncio.ensure_future(watcher.established("t", "tags"))
        await asyncio.sleep(1)
        await watcher.aclose()
        with pytest.raises(Unsupported):
            await waiting
        await watcher.handle(read())
        await asyncio.sleep(100)
        assert watcher.following == 0

    simulated(work)


# -- over the memory backend, with a cache in front -----------------------------------------------------------------


class Cached:
    """A reader behind a cache, and somebody who writes past it."""

    def __init__(self, settings: WatchSettings = SETTINGS) -> None:
        self.memory = MemoryBackend(ENTITIES)
        told = Invalidation()
        self.watcher = Watcher(self.memory, self.memory, told, settings)
        self.cache = Cache(self.watcher, CacheSettings(), told=told)
        self.reader = Caller(Subject(self.cache))
        self.stranger = Caller(Subject(self.memory), self.reader.colleague().identity)

    async def established(self) -> None:
        await self.watcher.established(self.reader.identity.tenant_id, "tags")

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(1):
            while not happened():  # noqa: ASYNC110 - the clock is virtual
                await asyncio.sleep(0.001)


def test_a_foreign_write_is_seen_and_an_own_one_costs_nothing_more() -> None:
    async def work() -> None:
        world = Cached()
        row = await world.reader.add(TAGS, name=new_id())
        other = await world.reader.add(TAGS, name=new_id())
        await world.established()
        heard, hits = world.watcher.heard, world.cache.hits
        mine = await world.reader.change(row, TAGS, name="mine")
        assert await world.reader.get(TAGS, row.id) == (mine,)
        assert await world.reader.get(TAGS, other.id) == (other,)
        await world.until(lambda: world.watcher.echoes == 1)
        assert await world.reader.get(TAGS, row.id) == (mine,)
        assert world.cache.hits == hits + 1, "the echo has emptied the cache"
        theirs = await world.stranger.change(row, TAGS, name="theirs")
        await world.until(lambda: world.watcher.heard == heard + 1)
        assert await world.reader.get(TAGS, row.id) == (theirs,)
        assert await world.reader.get(TAGS, other.id) == (other,)
        assert world.cache.hits == hits + 2, "what did not change was asked for again"
        await world.watcher.aclose()
        await world.cache.aclose()

    simulated(work)


def test_an_own_write_after_a_foreign_one_hides_it_from_nobody() -> None:
    async def work() -> None:
        world = Cached()
        row = await world.reader.add(TAGS, name=new_id())
        await world.established()
        for n in range(5):
            writers = (world.reader, world.stranger, world.stranger)
            await asyncio.gather(*(writer.change(row, TAGS, name=f"{n}.{i}") for i, writer in enumerate(writers)))
            await world.reader.get(TAGS, row.id)
            await asyncio.sleep(0.01)
            assert await world.reader.get(TAGS, row.id) == await world.stranger.get(TAGS, row.id)
        await world.watcher.aclose()
        await world.cache.aclose()

    simulated(work, 50)


def test_own_versions_are_remembered_within_bounds() -> None:
    async def work() -> None:
        world = Cached(WatchSettings(remembered=10))
        await world.established()
        rows = await world.reader.add_all(TAGS, *({"name": new_id()} for _ in range(50)))
        heard = world.watcher.heard
        await world.until(lambda: world.watcher.heard + world.watcher.echoes >= heard + len(rows))
        assert world.watcher.echoes == 10, "what is remembered no more is told of like anybody's"
        await world.watcher.aclose()
        await world.cache.aclose()

    simulated(work, 3)


def test_a_put_is_told_of() -> None:
    async def work() -> None:
        world = Cached()
        row = await world.reader.add(TAGS, name=new_id())
        await world.established()
        await world.reader.put(TAGS, row, sequence=1)
        await world.until(lambda: world.watcher.heard == 1)
        await world.watcher.aclose()
        await world.cache.aclose()

    simulated(work, 3)


def test_readers_writers_and_strangers_at_once() -> None:
    """Whatever the schedule: once all is quiet, nobody has an old answer, although nothing has ended by its time."""

    async def work(draw: random.Random) -> None:
        world = Cached(WatchSettings(idle=1e6))
        rows = [await world.reader.add(TAGS, name=new_id()) for _ in range(3)]
        begins = draw.random() < 0.5
        if begins:
            await world.established()

        async def act() -> None:
            for _ in range(draw.randint(1, 6)):
                who = draw.choice((world.reader, world.reader, world.stranger))
                row = draw.choice(rows)
                match draw.randrange(4):
                    case 0:
                        await who.change(row, TAGS, name=new_id())
                    case 1:
                        await asyncio.sleep(draw.choice((0, 0.001)))
                    case 2:
                        await who.ids(TAGS)
                    case _:
                        await who.get(TAGS, row.id)

        await asyncio.gather(*(act() for _ in range(5)))
        await world.established()
        await asyncio.sleep(1)
        for row in rows:
            assert await world.reader.get(TAGS, row.id) == await world.stranger.get(TAGS, row.id)
        assert (await world.reader.find(TAGS)).rows == (await world.stranger.find(TAGS)).rows
        await world.watcher.aclose()
        await world.cache.aclose()

    for seed in range(300):
        simulate(work, seed)


@pytest.mark.parametrize("fails", [True, False])
def test_a_stream_that_loses_its_cancellation_is_ended_all_the_same(fails: bool) -> None:
    class Deaf(Streams):
        async def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
            self.asked.append((0.0, resource, identity, after))
            yield Change(kind="resync", resource=resource)
            try:
                await asyncio.sleep(1e6)
            except asyncio.CancelledError:
                if fails:
                    raise Unavailable("cut off") from None
            await asyncio.sleep(1e6)

    async def work() -> None:
        source = Deaf()
        watcher, _ = built(source)
        await watcher.established("t", "tags")
        await watcher.aclose()
        assert asyncio.get_running_loop().time() < 10
        assert len(source.asked) == 1

    simulated(work, 5)
