"""A day of faults on a simulated clock: processes with all their layers over one backend that keeps the truth, and everything fails, often, and at once.

`live(seed, ...)` raises `Wrong` at the first answer that must not be, the first call that outlasts its time and the first hour after which something is
still held; it answers what happened.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

from interlock.contract import Identity, Query, Request
from interlock.errors import DeadlineExceeded, InterlockError, OutcomeUnknown, RateLimited, Unavailable
from interlock.testing.simulated_store import SimulatedServer
from interlock.testing.simulation import simulate
from soak.day.backend import RECORDS, Backend
from soak.day.holdings import BOUNDS, holdings
from soak.day.process import SERVICES, Process

__all__ = ["DOWN", "Wrong", "live"]


HOUR = 3600.0
QUIET = 300.0
"""Seconds at the end of each hour in which nobody asks and nothing fails."""
DOWN = frozenset({3, 7, 13, 19})
"""Hours in which the shared cache's server is away from beginning to end; the hour before has the same calls and the same faults of the backend."""
ACTORS = 3
FAULTS = ("spike", "storm", "flapping", "partition", "slow body")
TROUBLES = ("down", "hang", "restart", "snapshot", "cut", "pause", "crash")
OWNER: ContextVar[str] = ContextVar("OWNER", default="")


class Wrong(AssertionError):
    """What must not be."""


class Day:
    """The world."""

    def __init__(self, draw: random.Random, seed: int, hours: int, shared: bool, processes: int) -> None:
        self.draw, self.seed, self.hours, self.shared = draw, seed, hours, shared
        self.seen: Counter[str] = Counter()
        self.server = SimulatedServer(draw)
        self.backend = Backend(self.draw, self.seen)
        self.dead: set[str] = set()
        self.number = self.operation = 0
        self.most, self.processes = processes, list[Process]()
        self.all: dict[str, Process] = {}
        self.wrong: list[BaseException] = []
        self.held: list[dict[str, int]] = []
        self.ends = 0.0
        self.fair: dict[int, Counter[str]] = {}
        self.states: dict[Any, str] = {}

    def time(self) -> float:
        return asyncio.get_running_loop().time()

    def made(self, loop: Any, work: Any, **parts: Any) -> asyncio.Task[Any]:
        """A task, of the process in whose context it begins."""
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **parts)
        owner = self.all.get(parts["context"][OWNER] if OWNER in (parts.get("context") or ()) else OWNER.get())
        if owner is not None and work.__name__ not in ("_carry_out", "_lands"):
            owner.tasks.add(task)
            task.add_done_callback(owner.tasks.discard)
        return task

    def trouble(self, _: Any, context: dict[str, Any]) -> None:
        self.wrong.append(context.get("exception") or Wrong(context["message"]))

    async def play(self) -> tuple[Counter[str], list[dict[str, int]], dict[int, Counter[str]]]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(self.made)
        loop.set_exception_handler(self.trouble)
        for _ in range(self.most):
            await self._begin()
        for hour in range(self.hours):
            self.ends = (hour + 1) * HOUR - QUIET
            self.fair[hour] = Counter()
            work = asyncio.ensure_future(self._hour(hour))
            await asyncio.wait((work,), timeout=self.ends + QUIET / 2 - self.time())
            if not work.done():
                raise self.wrong[0] if self.wrong else Wrong("somebody waits for ever")
            work.result()
            await asyncio.sleep((hour + 1) * HOUR - self.time())
            if self.wrong:
                raise self.wrong[0]
            self.held.append(found := holdings(self))
            for name, count in found.items():
                if count > BOUNDS.get(name, 0):
                    raise Wrong(f"after hour {hour}: {count} {name}")
                if hour > 1 and name in ("tasks", "timers") and count > self.held[1][name]:
                    raise Wrong(f"after hour {hour}: {count} {name}, and after the second {self.held[1][name]}")
        for process in self.all.values():
            await process.close()
        if self.wrong:
            raise self.wrong[0]
        self.seen["backend calls"] = self.backend.calls
        return self.seen, self.held, self.fair

    async def _hour(self, hour: int) -> None:
        down = self.shared and hour in DOWN
        same = self.shared and (down or hour + 1 in DOWN)
        pair = hour - 1 if down else hour
        self.server.down = down
        work = [self._fault(kind, random.Random(f"{self.seed} {pair} {kind}")) for kind in FAULTS]
        if not same:
            work += [self._trouble(kind) for kind in TROUBLES if self.shared or kind == "pause"]
        work += [self._act(n, hour, random.Random(f"{self.seed} {pair} {n}")) for n in range(ACTORS)]
        await asyncio.gather(*work)
        self.server.down = False

    async def _within(self, seconds: float) -> None:
        """Wait, at most until the hour's end comes near."""
        await asyncio.sleep(min(seconds, max(0.0, self.ends - self.time())))

    async def _begin(self) -> Process:
        self.number += 1
        process = self.all[f"p{self.number}"] = Process(self, f"p{self.number}")
        token = OWNER.set(process.name)
        try:
            await process.start()
        finally:
            OWNER.reset(token)
        self.processes.append(process)
        return process

    # -- what goes wrong ------------------------------------------------------------------------------------------

    async def _fault(self, kind: str, draw: random.Random) -> None:
        """The backend's."""
        while True:
            await self._within(draw.uniform(60, 800))
            lasts = draw.uniform(5, 60)
            if self.time() + lasts > self.ends:
                return
            self.seen[kind] += 1
            self.seen["overlaps"] += self.backend.on.total() > 0
            self.backend.on[kind] = 1
            if kind == "partition":
                for stream in self.backend.streams:
                    stream.put_nowait(None)
            await asyncio.sleep(lasts)
            self.backend.on[kind] = 0
            self.backend.ended = self.time()

    async def _trouble(self, kind: str) -> None:
        """The shared cache's and the processes'."""
        draw, server = self.draw, self.server
        while True:
            await self._within(draw.uniform(60, 1200))
            lasts = draw.choice((0.5, 3, 10, 60))
            if self.time() + lasts + 40 > self.ends:
                return
            victim = draw.choice(self.processes)
            self.seen[kind] += kind not in ("restart", "snapshot", "crash")
            match kind:
                case "down":
                    server.down = True
                    await asyncio.sleep(lasts)
                    server.down = False
                case "hang":
                    server.hung = hung = asyncio.Event()
                    await asyncio.sleep(lasts)
                    server.hung = None
                    hung.set()
                case "restart" | "snapshot":
                    await self._restart(kind)
                case "cut":
                    probe = asyncio.ensure_future(self._probe(victim))
                    await asyncio.sleep(0.1)
                    victim.store.cut = True
                    await asyncio.sleep(lasts)
                    victim.store.cut = False
                    await probe
                case "pause":
                    victim.going.clear()
                    await asyncio.sleep(lasts)
                    victim.going.set()
                case _:
                    await self._crash(victim, draw.choice((0.1, 2, 20)))

    async def _restart(self, kind: str) -> None:
        """One who knows the others stays in reach: that is the bound of what is promised."""
        keepers = [one for one in self.processes if self._knows(one)]
        if self.server.down or self.server.hung is not None or not keepers:
            self.seen["no restart"] += 1
            return
        self.seen[kind] += 1
        entries = dict(self.server.entries)
        self.server.restart()
        if kind == "snapshot":
            # It comes back under the name of the old run, so that only its keys are there.
            self.server.entries = entries
        while not any(one.membership and one.membership.member_of == self.server.run for one in keepers):
            if all(one.dead for one in keepers):
                self.seen["no keeper"] += 1
                return
            await asyncio.sleep(0.1)

    def _knows(self, one: Process) -> bool:
        return (
            one.membership is not None
            and one.going.is_set()
            and not one.store.cut
            and one.store.connected
            and one.membership.member_of == self.server.run
            and {each.name for each in self.processes} <= set(one.membership._others)
        )

    async def _crash(self, victim: Process, away: float) -> None:
        if victim.dead or not all(self._knows(one) for one in self.processes if one is not victim):
            self.seen["no crash"] += 1
            return
        self.seen["crash"] += 1
        self.processes.remove(victim)
        victim.going.set()
        await victim.crash()
        await asyncio.sleep(away)
        self.dead.add(victim.name)
        await self._begin()

    # -- who asks -------------------------------------------------------------------------------------------------

    async def _act(self, place: int, hour: int, draw: random.Random) -> None:
        """Bursts, most of them small."""
        while True:
            await self._within(draw.uniform(1, 15))
            if self.time() > self.ends - 60:
                return
            process = self.processes[place % len(self.processes)]
            tenants = ("a", "b", f"t{int(self.time() / 1800)}")
            who, service = Identity("u", draw.choice(tenants), "admin"), draw.choice(SERVICES)
            many = draw.random() < 0.12
            spread = draw.choice((0, 3, 3)) if many else 0
            calls = [
                self._prepare(draw, who, service, spread, many) for _ in range(draw.randint(24, 40) if many else 3)
            ]
            tasks = [self._begun(process, hour, *call) for call in calls]
            for task in tasks:
                if draw.random() < 0.02:
                    asyncio.get_running_loop().call_later(draw.choice((0.001, 0.01, 1)), task.cancel)
            await _ended(tasks)

    def _begun(self, process: Process, hour: int, request: Request, wait: float, patience: float) -> asyncio.Task[None]:
        """A call, in a task that ends with its process."""
        token = OWNER.set(process.name)
        try:
            return asyncio.ensure_future(self._call(process, hour, request, wait, patience))
        finally:
            OWNER.reset(token)

    async def _probe(self, victim: Process) -> None:
        """Who is in trouble writes, and the others look."""
        hour, who = int(self.time() / HOUR), Identity("u", "a", "admin")
        service, record = self.draw.choice(SERVICES), self.draw.choice(RECORDS)
        self.operation += 1
        name, patch = f"o{self.operation}", MappingProxyType({"name": "y"})
        write = Request("update", service, who, ids=(record,), patch=patch, operation_id=name)
        tasks = [self._begun(victim, hour, write, self.draw.uniform(0, 0.5), 40.0)]
        for _ in range(12):
            others = [one for one in self.processes if one is not victim]
            read = Request("get", service, who, ids=(record,))
            tasks += [self._begun(one, hour, read, 0.0, 40.0) for one in others]
            await asyncio.sleep(0.3)
        await _ended(tasks)

    def _prepare(
        self, draw: random.Random, who: Identity, service: str, spread: float, many: bool
    ) -> tuple[Request, float, float]:
        now = self.time()
        wait = draw.uniform(0, spread)
        patience = draw.choice((None, None, None, 1.0, 4.0, 8.0))
        how, record = draw.random(), draw.choice(RECORDS)
        deadline = None if patience is None else now + wait + patience
        if how < 0.1:
            self.operation += 1
            patch = MappingProxyType({"name": "y"})
            name = f"o{self.operation}"
            request = Request("update", service, who, ids=(record,), patch=patch, operation_id=name, deadline=deadline)
        elif how < 0.4:
            limit = draw.randint(20, 60) if many else 20
            request = Request("find", service, who, query=Query(limit=limit), deadline=deadline)
        else:
            request = Request("get", service, who, ids=(record,), deadline=deadline)
        return request, wait, 40.0 if patience is None else patience

    async def _call(self, process: Process, hour: int, request: Request, wait: float, patience: float) -> None:
        await asyncio.sleep(wait)
        began, backend, seen = self.time(), self.backend, self.seen
        whose = (request.identity.tenant_id, request.resource)
        least = {one: backend.least((*whose, one), began) for one in request.ids or RECORDS}
        paused = not process.going.is_set()
        sound, pauses = backend.sound(began), seen["pause"]
        fair = self.fair[hour]
        seen["calls"] += 1
        fair["calls"] += 1
        fair["sound"] += sound
        try:
            answer = await process.pipelines[request.resource].handle(request)
            await process.going.wait()
            fair["good"] += 1
            fair["sound and good"] += sound
        except InterlockError as error:
            await process.going.wait()
            if not isinstance(error, RateLimited | Unavailable | DeadlineExceeded | OutcomeUnknown):
                raise Wrong(f"{error!r}") from error
            if isinstance(error, OutcomeUnknown) and request.verb != "update":
                raise Wrong("a read of unknown outcome") from error
            well = sound and backend.sound(self.time()) and not paused and pauses == seen["pause"]
            if well and isinstance(error, DeadlineExceeded) and request.verb != "update":
                raise Wrong(f"at {began} a {request.verb} was late, and all was well") from error
            seen[error.code] += 1
            return
        finally:
            took = self.time() - began
            if took > patience + 0.5 and not process.dead and not paused and pauses == seen["pause"]:
                self.wrong.append(Wrong(f"{request.verb} took {took} of {patience}"))
            for pipeline in process.pipelines.values():
                state = getattr(breaker := pipeline.layers["breaker"], "state", "")
                if state != self.states.get(breaker, "closed"):
                    seen[state] += 1
                    self.states[breaker] = state
        if request.verb == "update":
            seen["writes"] += 1
            seen["held writes"] += took > 1 and sound
            key = (*whose, request.ids[0])
            row: Any = answer.outcomes[0].row
            backend.acknowledged[key] = max(backend.acknowledged.get(key, 0), row.version)
            return
        seen["kept"] += answer.cached
        fair["kept"] += answer.cached
        seen["stale"] += answer.stale
        given = {row.id: row for row in answer.rows}
        for one, version in least.items():
            row = given.get(one)
            if row is None or (row.tenant_id, row.name) != whose:
                raise Wrong(f"{row!r} for {one} of {whose}")
            if row.version < version:
                raise Wrong(f"at {began} version {row.version} of {one} of {whose}, and {version} was known")


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raises what one of them raised."""
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def live(
    seed: int, *, hours: int = 24, shared: bool = True, processes: int = 3
) -> tuple[Counter[str], list[dict[str, int]], dict[int, Counter[str]]]:
    """What happened, what was held after each hour, and how many calls were answered in each."""
    return simulate(lambda draw: Day(draw, seed, hours, shared, processes).play(), seed, most=60_000_000)
