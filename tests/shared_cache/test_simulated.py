"""Several processes over one server, all of them simulated: what each may serve, and how long a writer waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from types import MappingProxyType
from typing import Any

import pytest

from interlock.contract import Change, Identity, Outcome, Query, Request, Response
from interlock.entities import ENTITIES
from interlock.entities.customer import Tag
from interlock.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from interlock.layers import CacheSettings, SingleFlight
from interlock.layers.invalidation import Invalidation
from interlock.layers.shared import Membership, MembershipSettings, SharedCache
from interlock.testing.simulated_store import SimulatedServer, SimulatedStore
from interlock.testing.simulation import simulate

ME = Identity("u", "t", "admin")
SETTINGS = MembershipSettings(quarantine=0.001)


class Truth:
    """A backend of one record, whose version grows by each write."""

    def __init__(self) -> None:
        self.version = 1
        self.calls = 0
        self.fails: Exception | None = None
        self.takes = 0.0

    async def handle(self, request: Request) -> Response:
        self.calls += 1
        version = self.version
        if request.verb == "update":
            self.version += 1
            version = self.version
        await asyncio.sleep(self.takes)
        if self.fails is not None:
            raise self.fails
        row = Tag(id="r", tenant_id="t", name="x", version=version)
        if request.verb == "update":
            return Response(outcomes=(Outcome("r", row),))
        return Response((row,))


class Process:
    """A process: its membership, a cache and single-flight over the truth."""

    def __init__(self, server: SimulatedServer, truth: Truth, name: str, **rules: Any) -> None:
        told = Invalidation()
        self.store = SimulatedStore(server, server.draw)
        self.membership = Membership(self.store, server.settings, told=told, member=name, **rules)
        self.cache = SharedCache(
            SingleFlight(truth, told=told),
            CacheSettings(ttl=60, stale_if_error=60),
            self.membership,
            service="customers",
            where="here",
            entities={entity.resource: entity for entity in ENTITIES},
            draw=server.draw,
        )

    async def read(self) -> Response:
        return await self.cache.handle(Request("find", "tags", ME, query=Query()))

    async def version(self) -> int:
        version: int = (await self.read()).rows[0].version
        return version

    async def write(self, **parts: Any) -> Response:
        patch = MappingProxyType({"name": "y"})
        return await self.cache.handle(
            Request("update", "tags", ME, ids=("r",), patch=patch, operation_id="o", **parts)
        )

    async def close(self) -> None:
        await self.cache.aclose()
        await self.membership.aclose()


World = Callable[[SimulatedServer, Truth, Process, Process], Coroutine[Any, Any, None]]


def play(world: World, settings: MembershipSettings = SETTINGS, schedules: int = 20) -> None:
    """The world, on some schedules."""

    async def work(draw: random.Random) -> None:
        server, truth = SimulatedServer(draw, settings), Truth()
        one, two = Process(server, truth, "one", gone=_nobody), Process(server, truth, "two", gone=_nobody)
        await one.membership.start()
        await two.membership.start()
        await asyncio.sleep(1.5)
        await world(server, truth, one, two)
        server.down, one.store.cut, two.store.cut = False, False, False
        if server.hung is not None:
            hung, server.hung = server.hung, None
            hung.set()
        await one.close()
        await two.close()

    for seed in range(schedules):
        simulate(work, seed)


def _nobody(member: str) -> bool:
    return False


def now() -> float:
    return asyncio.get_running_loop().time()


def test_what_one_has_loaded_the_other_is_given() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        assert not (await one.read()).cached
        answer = await two.read()
        assert (answer.cached, truth.calls) == (True, 1)
        assert (two.cache.hits, one.cache.misses, one.cache.state) == (1, 1, "serving")

    play(world)


def test_an_acknowledged_write_is_seen_by_all() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        for n in range(1, 10):
            assert [await one.version(), await two.version()] == [n, n]
            await (one if n % 2 else two).write()

    play(world)


def test_a_reader_joins_no_call_from_before_anothers_write() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        truth.takes = 1.0
        early = asyncio.ensure_future(two.version())
        await asyncio.sleep(0.1)
        truth.takes = 0.0
        await one.write()
        assert await two.version() == 2
        assert await early == 1
        assert await two.version() == 2

    play(world)


@pytest.mark.parametrize("cut", [False, True], ids=["down", "cut off"])
def test_a_writer_that_cannot_tell_waits_until_nobody_serves(cut: bool) -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        assert [await one.version(), await two.version()] == [1, 1]
        one.store.cut = cut
        server.down = not cut
        began = now()
        writing = asyncio.ensure_future(one.write())
        while not writing.done():
            await two.version()
            await asyncio.sleep(0.01)
        assert 1.5 < now() - began < 3.7
        assert await two.version() == 2
        began = now()
        await one.write()
        assert now() - began < 0.2, "from then on it goes on alone, at full speed"
        assert [await two.version(), await one.version()] == [3, 3]
        assert "bypassed" in one.cache.state
        server.down = one.store.cut = False
        await asyncio.sleep(4)
        assert [await two.version(), await one.version()] == [3, 3]
        assert (await two.read()).cached
        await two.write()
        assert [await two.version(), await one.version()] == [4, 4]

    play(world)


def test_a_server_that_hangs_gives_nothing_old_when_it_goes_on() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        assert [await one.version(), await two.version()] == [1, 1]
        server.hung = asyncio.Event()
        await asyncio.sleep(0.9)
        began = now()
        await one.write()
        assert now() - began < 3.7
        assert [await one.version(), await two.version()] == [2, 2]
        await asyncio.sleep(5)
        hung, server.hung = server.hung, None
        hung.set()
        for _ in range(40):
            assert [await one.version(), await two.version()] == [2, 2]
            await asyncio.sleep(0.1)
        assert (await one.read()).cached

    play(world)


def test_a_restarted_server_serves_nothing_until_those_who_write_are_known() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        assert [await one.version(), await two.version()] == [1, 1]
        one.store.cut = True
        server.restart()
        await asyncio.sleep(1.5)
        assert not (await two.read()).cached
        await one.write()
        await asyncio.sleep(30)
        assert "waiting for one" in two.cache.state
        assert await two.version() == 2
        one.store.cut = False
        await asyncio.sleep(2)
        assert [await one.version(), await two.version()] == [2, 2]
        assert (await one.read()).cached

    play(world, MembershipSettings(quarantine=10))


def test_a_process_that_was_never_reached_writes_nothing() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        three = Process(server, truth, "three", gone=_nobody)
        three.store.cut = True
        await three.membership.start()
        assert await three.version() == 1
        with pytest.raises(Unavailable, match="INTERLOCK_REDIS_URL"):
            await three.write()
        three.store.cut = False
        await asyncio.sleep(2)
        await three.write()
        assert await two.version() == 2
        await three.close()

    play(world)


def test_the_dead_are_removed_and_what_they_wrote_is_seen() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        three = Process(server, truth, "three", gone=_nobody)
        await three.membership.start()
        assert [await one.version(), await three.version()] == [1, 1]
        three.store.cut = True
        await asyncio.sleep(4)
        await three.write()
        life = three.membership._life
        assert life is not None
        life.cancel()
        assert "waiting for three" in two.cache.state
        assert await two.membership.forget_member("three")
        assert await two.version() == 2
        await asyncio.sleep(31)
        assert await one.version() == 2
        assert (await two.read()).cached
        assert [member.id for member in one.membership.members()] == ["one", "two"]

    play(world)


def test_a_process_cut_off_for_too_long_writes_nothing() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        one.store.cut = True
        await asyncio.sleep(20)
        await one.write()
        await asyncio.sleep(100)
        with pytest.raises(Unavailable, match="INTERLOCK_REDIS_URL"):
            await one.write()
        await asyncio.sleep(150)
        assert await two.version() == 2
        assert (await two.read()).cached

    play(world, MembershipSettings(quarantine=0.001, forget_after=200), schedules=3)


def test_a_write_of_unknown_outcome_keeps_its_scope_unkept_until_it_has_settled() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        truth.fails = OutcomeUnknown("o")
        with pytest.raises(OutcomeUnknown):
            await one.write()
        truth.fails, truth.version = None, 1
        assert await two.version() == 1
        await asyncio.sleep(20)
        assert not (await two.read()).cached
        truth.version = 2
        assert await two.version() == 2
        await asyncio.sleep(11)
        assert [await two.version(), await one.version()] == [2, 2]
        assert (await one.read()).cached

    play(world)


def test_a_caller_that_gives_up_leaves_a_mark() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        truth.takes = 5.0
        writing = asyncio.ensure_future(one.write())
        await asyncio.sleep(1)
        writing.cancel()
        await asyncio.wait({writing})
        truth.takes = 0.0
        assert await two.version() == 2
        assert not (await two.read()).cached

    play(world)


def test_a_write_that_is_held_back_keeps_its_deadline() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        server.down = True
        began = now()
        with pytest.raises(DeadlineExceeded):
            await one.write(deadline=began + 0.5)
        assert now() - began < 0.6
        assert truth.version == 1, "nothing was sent"

    play(world)


def test_an_old_answer_stands_in_only_while_nobody_wrote() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        await asyncio.sleep(70)
        truth.fails = Unavailable("away")
        answer = await two.read()
        assert (answer.stale, answer.cached) == (True, True)
        truth.fails = None
        await one.write()
        truth.fails = Unavailable("away")
        with pytest.raises(Unavailable):
            await two.read()

    play(world)


def test_an_answer_is_refreshed_before_it_ends_by_one_of_all() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        await asyncio.sleep(48)
        for _ in range(61):
            answers = await asyncio.gather(*(process.read() for process in (one, two, one, two)))
            assert all(answer.cached for answer in answers)
            await asyncio.sleep(0.1)
        assert truth.calls == 2

    play(world)


def test_a_foreign_change_is_not_hidden() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        truth.version = 5
        one.membership._told.changed("t", Change(kind="updated", resource="tags", record_id="r", version=5))
        assert await one.version() == 5
        await asyncio.sleep(0.1)
        assert await two.version() == 5

    play(world)


def test_a_switch_retires_what_was_kept() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        await two.cache.retire()
        assert not (await one.read()).cached

    play(world)


def test_an_evicted_scope_is_not_served_before_its_marks_have_settled() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        truth.fails = OutcomeUnknown("o")
        with pytest.raises(OutcomeUnknown):
            await one.write()
        truth.fails, truth.version = None, 1
        await asyncio.sleep(0.1)
        server.evict(("t", "tags"))
        await two.version()
        truth.version = 2
        assert await two.version() == 2
        await asyncio.sleep(31)
        await two.version()
        assert (await one.read()).cached

    play(world)


def test_a_clock_that_is_set_back_is_noticed() -> None:
    async def world(server: SimulatedServer, truth: Truth, one: Process, two: Process) -> None:
        await one.version()
        server.skew -= 600_000
        await asyncio.sleep(2)
        one.store.cut = True
        began = now()
        await one.write()
        assert now() - began < 3.7
        assert await two.version() == 2
        await asyncio.sleep(20)
        assert await two.version() == 2

    play(world)
