"""A small world of processes that share a cache, in which everything goes wrong: they and the server are cut apart, hang, crash and begin anew.

`run(seed)` plays one schedule and raises `Wrong` at the first answer that must not be; it answers what happened, so that a run in which nothing did is seen.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

from interlock.contract import Change, Identity, Outcome, Query, Request, Response
from interlock.entities import ENTITIES
from interlock.entities.customer import Tag
from interlock.errors import InterlockError, OutcomeUnknown, Unavailable
from interlock.layers import CacheSettings, SingleFlight
from interlock.layers.invalidation import Invalidation
from interlock.layers.shared import Membership, MembershipSettings, SharedCache
from interlock.testing.simulated_store import SimulatedServer, SimulatedStore
from interlock.testing.simulation import simulate

__all__ = ["Wrong", "run"]

TENANTS = tuple(Identity(f"user-{name}", name, "admin") for name in ("a", "b"))
RECORDS = ("r1", "r2")
SETTLE = 5.0
PROCESSES = 3
KINDS = ("cut", "cut", "cut", "down", "hang", "restart", "evict", "crash", "cut and crash", "clock", "all")
"""What goes wrong."""

Key = tuple[str, str]


class Wrong(AssertionError):
    """An answer that must not be."""


class Truth:
    """The records of both tenants: a version each, when each was committed, and the newest that somebody was told of."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.landed: dict[Key, list[float]] = {(who.tenant_id, record): [0.0] for who in TENANTS for record in RECORDS}
        self.acknowledged: dict[Key, int] = dict.fromkeys(self.landed, 0)
        self.given: dict[Key, int] = dict.fromkeys(self.landed, 0)
        self.late: set[asyncio.Task[None]] = set()
        self.unknown = draw.choice((0, 0.05, 0.2))
        self.slow = draw.choice((0, 0.1))
        self.outlasting: set[tuple[Key, int]] = set()
        """What was written after its mark had expired: until it is acknowledged, one reader may have it and the next not."""

    def version(self, key: Key) -> int:
        return len(self.landed[key]) - 1

    def commit(self, key: Key) -> int:
        self.landed[key].append(asyncio.get_running_loop().time())
        return self.version(key)

    async def _while(self) -> None:
        if self.draw.random() < 0.8:
            await asyncio.sleep(self.draw.choice((0, 0.001, 0.01, 0.05, 0.3, 1.5)))

    async def handle(self, request: Request) -> Response:
        tenant = request.identity.tenant_id
        try:
            await self._while()
        except asyncio.CancelledError:
            # Its sender is gone, and it may have been sent.
            if request.verb == "update" and self.draw.random() < 0.7:
                self._later(self._lands((tenant, request.ids[0]), self.draw.uniform(0, SETTLE * 0.9)))
            raise
        if self.draw.random() < 0.03:
            raise Unavailable("the truth is away")
        if request.verb == "update":
            return await self._update((tenant, request.ids[0]), request)
        wanted = request.ids if request.verb == "get" else RECORDS
        rows = tuple(Tag(id=one, tenant_id=tenant, name="x", version=self.version((tenant, one))) for one in wanted)
        await self._while()
        return Response(rows)

    async def _update(self, key: Key, request: Request) -> Response:
        fate = self.draw.random()
        if fate < self.unknown:
            self._later(self._lands(key, self.draw.uniform(0, SETTLE * 0.9)))
            raise OutcomeUnknown(request.operation_id)
        slow = self.draw.random() < self.slow
        if slow:
            await asyncio.sleep(SETTLE * 1.3)
        version = self.commit(key)
        if slow:
            self.outlasting.add((key, version))
        await self._while()
        return Response(outcomes=(Outcome(key[1], Tag(id=key[1], tenant_id=key[0], name="y", version=version)),))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.late.add(task)
        task.add_done_callback(self.late.discard)

    async def _lands(self, key: Key, after: float) -> None:
        await asyncio.sleep(after)
        self.commit(key)


class Process:
    """A process: all that it runs ends with it when it crashes."""

    def __init__(self, world: World, name: str) -> None:
        told = Invalidation(SETTLE)
        self.name = name
        self.dead = False
        self.told = told
        self.store = SimulatedStore(world.server, world.draw, loss=world.loss)
        self.membership = Membership(self.store, world.settings, told=told, member=name, gone=world.dead.__contains__)
        self.cache = SharedCache(
            SingleFlight(world.truth, varies="tenant", told=told),
            CacheSettings(ttl=30, stale_if_error=5),
            self.membership,
            service="customers",
            where="here",
            entities={entity.resource: entity for entity in ENTITIES},
            varies="tenant",
            draw=world.draw,
        )
        self.actors: list[asyncio.Task[None]] = []

    def crash(self) -> None:
        """Killed: nothing of it runs on, nothing is tidied up."""
        self.dead = True
        tasks: list[Any] = [*self.actors, *self.membership._tasks, *self.cache._refreshes]
        if self.membership._life is not None:
            tasks.append(self.membership._life)
        for task in tasks:
            task.cancel()

    async def close(self) -> None:
        await self.cache.aclose()
        await self.membership.aclose()


class World:
    """One schedule."""

    def __init__(self, draw: random.Random, kinds: Sequence[str]) -> None:
        self.draw = draw
        self.kinds = kinds
        self.settings = MembershipSettings(settle=SETTLE, quarantine=SETTLE, forget_after=600)
        self.server = SimulatedServer(draw, self.settings)
        self.truth = Truth(draw)
        self.weights = draw.choice(((30, 1, 0.05, 0.05), (30, 2, 0, 0), (30, 1, 0.2, 0.2)))
        self.loss = draw.choice((0, 0, 0.01))
        self.dead: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.number = 0
        self.processes: list[Process] = []
        self.all: list[Process] = []

    async def play(self) -> Counter[str]:
        for _ in range(PROCESSES):
            await self._begin()
        await asyncio.sleep(SETTLE + 1)
        trouble = asyncio.ensure_future(self._trouble())
        await trouble
        await self._mend()
        for _ in range(30):
            await asyncio.sleep(1)
            if all(process.cache.state == "serving" for process in self.processes):
                self.seen["healed"] += 1
                break
        await asyncio.sleep(3)
        for process in self.all:
            for actor in process.actors:
                actor.cancel()
            for actor in process.actors:
                with suppress(asyncio.CancelledError):
                    await actor
        for process in self.all:
            if process.dead:
                await process.store.aclose()
                await asyncio.gather(*process.membership._tasks, return_exceptions=True)
            else:
                await process.close()
        while self.truth.late:
            await asyncio.wait(set(self.truth.late))
        await asyncio.sleep(1)
        return self.seen

    async def _begin(self) -> None:
        self.number += 1
        process = Process(self, f"p{self.number}")
        self.processes.append(process)
        self.all.append(process)
        await process.membership.start()
        process.actors = [asyncio.ensure_future(self._act(process)) for _ in range(2)]

    # -- what goes wrong ------------------------------------------------------------------------------------------

    async def _trouble(self) -> None:
        for _ in range(self.draw.randint(1, 4)):
            kind = self.draw.choice(self.kinds)
            self.seen[kind] += 1
            victim = self.draw.choice(self.processes)
            match kind:
                case "cut":
                    victim.store.cut = True
                case "down":
                    self.server.down = True
                case "hang":
                    self.server.hung = self.server.hung or asyncio.Event()
                case "restart":
                    await self._restart(0)
                case "evict":
                    for who in TENANTS:
                        self.server.evict((who.tenant_id, "tags"))
                case "clock":
                    self.server.skew -= self.draw.choice((500, 5_000, 100_000))
                case "crash" | "cut and crash":
                    if kind == "cut and crash":
                        victim.store.cut = True
                        await asyncio.sleep(self.draw.choice((0.1, 5, 8)))
                    victim.crash()
                    self.processes.remove(victim)
                    await asyncio.sleep(self.draw.choice((0, 0.2, 4)))
                    self.dead.add(victim.name)
                    await self._begin()
                case "all":
                    await self._restart(0.7)
            await asyncio.sleep(self.draw.choice((0.05, 0.5, 2, 4, 8)))
            if self.draw.random() < 0.5:
                await self._mend()
                await asyncio.sleep(self.draw.choice((0.1, 1, 6)))

    async def _restart(self, cut: float) -> None:
        """The server begins anew, and some are cut off from it. One who knows the others is not: that is the bound of what is promised."""
        keepers = [
            each for each in self.processes if not each.store.cut and each.store.connected and each.membership.member_of
        ]
        if self.server.down or self.server.hung is not None or not keepers:
            self.seen["no restart"] += 1
            return
        keeper = self.draw.choice(keepers)
        for process in self.processes:
            process.store.cut = process.store.cut or (process is not keeper and self.draw.random() < cut)
        self.server.restart()
        for _ in range(200):
            if keeper.membership.member_of == self.server.run:
                break
            await asyncio.sleep(0.1)

    async def _mend(self) -> None:
        self.server.down = False
        hung, self.server.hung = self.server.hung, None
        if hung is not None:
            hung.set()
        for process in self.processes:
            process.store.cut = False

    # -- what they do ---------------------------------------------------------------------------------------------

    async def _act(self, process: Process) -> None:
        while True:
            who, record = self.draw.choice(TENANTS), self.draw.choice(RECORDS)
            try:
                match self.draw.choices(("read", "write", "given up", "foreign"), self.weights)[0]:
                    case "read":
                        await self._read(process, who, record)
                    case "write":
                        await self._write(process, who, record)
                    case "given up":
                        with suppress(TimeoutError):
                            await asyncio.wait_for(
                                self._write(process, who, record), self.draw.choice((0.001, 0.02, 1))
                            )
                    case "foreign":
                        self._foreign(process, who, record)
                        await self._read(process, who, record)
            except InterlockError as error:
                self.seen[error.code] += 1
            await asyncio.sleep(self.draw.choice((0, 0.01, 0.1, 0.3)))

    def _foreign(self, process: Process, who: Identity, record: str) -> None:
        """Somebody beside them all writes, and each process is told."""
        key = (who.tenant_id, record)
        version = self.truth.commit(key)
        for each in self.processes:
            each.told.changed(who.tenant_id, Change(kind="updated", resource="tags", record_id=record, version=version))
        self.truth.acknowledged[key] = version
        self.seen["foreign"] += 1

    async def _write(self, process: Process, who: Identity, record: str) -> None:
        request = Request(
            "update",
            "tags",
            who,
            ids=(record,),
            patch=MappingProxyType({"name": "y"}),
            operation_id=f"{process.name}-{self.draw.getrandbits(60)}",
        )
        answer = await process.cache.handle(request)
        row: Any = answer.outcomes[0].row
        key = (who.tenant_id, record)
        self.truth.acknowledged[key] = max(self.truth.acknowledged[key], row.version)
        self.seen["written"] += 1

    async def _read(self, process: Process, who: Identity, record: str) -> None:
        key = (who.tenant_id, record)
        now = asyncio.get_running_loop().time()
        least = max(
            self.truth.acknowledged[key],
            self.truth.given[key],
            max(n for n, at in enumerate(self.truth.landed[key]) if n == 0 or at + SETTLE * 1.5 < now),
        )
        if self.draw.random() < 0.5:
            request = Request("get", "tags", who, ids=(record,))
        else:
            request = Request("find", "tags", who, query=Query())
        answer = await process.cache.handle(request)
        self.seen["kept" if answer.cached else "loaded"] += 1
        for row in answer.rows:
            if row.tenant_id != who.tenant_id:
                raise Wrong(f"a row of {row.tenant_id} for {who.tenant_id}")
            if row.id == record and (key, row.version) not in self.truth.outlasting:
                self.truth.given[key] = max(self.truth.given[key], row.version)
            if row.id == record and row.version < least:
                raise Wrong(f"{now}: {process.name} was given version {row.version} of {key}, and {least} was known")
        if not any(row.id == record for row in answer.rows):
            raise Wrong(f"the answer lacks {record}")


def run(seed: int, kinds: Sequence[str] = KINDS) -> Counter[str]:
    """Play one schedule, in which `kinds` go wrong."""
    failed: list[BaseException] = []

    async def work(draw: random.Random) -> Counter[str]:
        world = World(draw, kinds)
        playing = asyncio.ensure_future(world.play())

        def watch(loop: Any, context: dict[str, Any]) -> None:
            error = context.get("exception")
            if error is not None:
                failed.append(error)

        asyncio.get_running_loop().set_exception_handler(watch)
        seen = await playing
        for process in world.all:
            for actor in process.actors:
                if actor.done() and not actor.cancelled() and (error := actor.exception()) is not None:
                    raise error
        return seen

    seen = simulate(work, seed, most=3_000_000)
    if failed:
        raise failed[0]
    return seen


LEAST: Final = {
    "kept": 20.0,
    "written": 3.0,
    "healed": 1.0,
    **dict.fromkeys(("cut", "down", "hang", "restart", "evict", "crash", "cut and crash", "clock", "all"), 0.05),
}
"""How often each must have come up, per schedule. Every schedule ends with its processes healed."""
