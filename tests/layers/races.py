"""A small world in which everything races: readers, writers, cancellations, foreign writes, resyncs and switches, over a store that keeps the truth.

`run(seed, stack)` plays one schedule, raises `Wrong` at the first answer that must not be, and answers what happened.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sized
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.contract import Aggregate, Backend, Change, GroupRow, Identity, Outcome, Query, Request, Response
from interlock.entities.customer import Tag
from interlock.errors import DeadlineExceeded, Forbidden, InterlockError, Invalid, OutcomeUnknown, Unavailable
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Varies
from interlock.testing.simulation import simulate

CALLERS = (
    Identity("ann", "a", "admin"),
    Identity("abe", "a", "agent"),
    Identity("amy", "a", "agent"),
    Identity("bob", "b", "admin"),
)
TENANTS = ("a", "b")
RECORDS = ("r1", "r2", "r3")
BAD = "bad"
"""An id for which the store refuses the whole call."""
SETTLE = 5.0
"""Seconds within which a write of unknown outcome lands, if ever."""

Key = tuple[str, str]
_SUMS = Aggregate()
_DEEDS = ("read", "burst", "write", "foreign", "resync", "switch", "wait")
_OFTEN = (9, 2, 6, 1, 0.5, 1, 2)


class Wrong(AssertionError):
    """An answer that must not be."""


class Stack(msgspec.Struct):
    """How to put layers around a store, and whom their answers are the same for."""

    around: Callable[[Backend, Invalidation], list[Any]]
    """The layers, outermost first."""
    varies: Varies = "tenant"
    limited: bool = True
    """True where a layer ends calls of its own accord: with a deadline, a queue or a breaker."""
    prompt: bool = False
    """True where no call outlasts its caller's deadline."""


class Failing(Unavailable):
    """The store's failure, with when it was."""

    def __init__(self, made: int) -> None:
        super().__init__("the store is away")
        self.made = made


class Truth:
    """The records of both tenants: a version each, 0 where there is none. `acknowledged` is what some caller was told; `landed` is when each was committed."""

    def __init__(self) -> None:
        self.version: dict[Key, int] = {
            (tenant, record): int(record != "r3") for tenant in TENANTS for record in RECORDS
        }
        self.acknowledged: dict[Key, int] = dict(self.version)
        self.done: dict[str, int] = {}
        self.landed: dict[Key, list[float]] = {key: [-100.0] * (had + 1) for key, had in self.version.items()}
        self.tally: Counter[str] = Counter()
        self.step = 0

    def next(self) -> int:
        """Before and after, where the clock stands still."""
        self.step += 1
        return self.step

    def commit(self, key: Key, operation_id: str = "") -> int:
        """One version more; of an operation that has been done, the version that it made."""
        if operation_id in self.done:
            self.tally["repeated"] += 1
            return self.done[operation_id]
        self.version[key] += 1
        if operation_id:
            self.done[operation_id] = self.version[key]
        self.landed[key].append(asyncio.get_running_loop().time())
        return self.version[key]

    def told(self, key: Key, version: int) -> None:
        """Some caller knows of it now."""
        self.acknowledged[key] = max(self.acknowledged[key], version)

    def least(self, key: Key, now: float) -> int:
        """The oldest version that may still be given."""
        landed, known = self.landed[key], self.acknowledged[key]
        return max([known, *(n for n in range(known, len(landed)) if landed[n] + SETTLE < now)])


class Store:
    """A backend over the truth: every step takes its time, and some calls fail, before or after the commit."""

    def __init__(self, truth: Truth, draw: random.Random, epoch: int, varies: Varies) -> None:
        self.truth = truth
        self.draw = draw
        self.epoch = epoch
        self.varies = varies
        self.failing = draw.choice((0.02, 0.05, 0.3))
        self.late: set[asyncio.Task[None]] = set()

    def whose(self, who: Identity) -> str:
        """Every row says whom it was filtered for."""
        return {"tenant": "all", "role": who.role, "user": who.user_id}[self.varies]

    async def _while(self) -> None:
        if self.draw.random() < 0.7:
            await asyncio.sleep(self.draw.choice((0, 0, 0.001, 0.01)))

    async def handle(self, request: Request) -> Response:
        await self._while()
        if self.draw.random() < self.failing:
            raise Failing(self.truth.next())
        if request.verb in ("update", "create"):
            return await self._write(request)
        who = request.identity
        if BAD in request.ids:
            self.truth.tally["refused"] += 1
            raise Invalid({"id": "is bad"})
        self.truth.tally["gathered"] += len(request.ids) > 2
        have = {record: self.truth.version[who.tenant_id, record] for record in request.ids or RECORDS}
        if request.verb == "aggregate":
            groups = tuple(GroupRow((record, self.whose(who), who.tenant_id), (n,)) for record, n in have.items() if n)
            answer = Response(groups=groups, backend="store", epoch=self.epoch)
        else:
            rows = tuple(self._row(who, record, version) for record, version in have.items() if version)
            answer = Response(rows, backend="store", epoch=self.epoch)
        await self._while()
        return answer

    def _row(self, who: Identity, record: str, version: int) -> Tag:
        return Tag(id=record, tenant_id=who.tenant_id, name=self.whose(who), version=version)

    async def _write(self, request: Request) -> Response:
        who, tally = request.identity, self.truth.tally
        record = request.ids[0] if request.ids else request.rows[0].id
        key, operation = (who.tenant_id, record), request.operation_id
        fate = self.draw.random()
        if fate < 0.12:
            tally["unknown"] += 1
            if fate < 0.03:
                self.truth.commit(key, operation)
            else:
                self._later(self._lands(key, operation, self.draw.uniform(0, SETTLE * 0.9)))
            raise OutcomeUnknown(operation)
        if fate < 0.18:
            tally["rejected"] += 1
            raise Forbidden("not now")
        if fate < 0.3:
            # Sent: whatever becomes of the caller, it lands.
            await asyncio.shield(self._later(self._lands(key, operation, 0.01)))
        version = self.truth.commit(key, operation)
        await self._while()
        return Response(outcomes=(Outcome(record, self._row(who, record, version)),), backend="s", epoch=self.epoch)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.late.add(task)
        task.add_done_callback(self.late.discard)
        return task

    async def _lands(self, key: Key, operation_id: str, after: float) -> None:
        await asyncio.sleep(after)
        self.truth.tally["landed late"] += operation_id not in self.truth.done
        self.truth.commit(key, operation_id)


class World:
    """One schedule."""

    def __init__(self, draw: random.Random, stack: Stack, trace: Callable[[str], None]) -> None:
        self.draw = draw
        self.stack = stack
        self.trace = trace
        self.truth = Truth()
        self.tally = self.truth.tally
        self.told = Invalidation(SETTLE)
        self.all: list[list[Any]] = []
        self.epoch = 0
        self.operation = 0
        self.sent_away: set[asyncio.Future[None]] = set()
        self.switch()

    async def play(self) -> Counter[str]:
        """Everybody at once; then, when all has settled, everybody looks once more."""
        loop, draw = asyncio.get_running_loop(), self.draw
        actors = [asyncio.ensure_future(self._act()) for _ in range(draw.randint(3, 8))]
        leaving = draw.choice((0.0, 0.3, 0.6))
        for actor in actors:
            if draw.random() < leaving:
                loop.call_later(draw.choice((0, 0.001, 0.001, 0.002, 0.01, 0.011, 0.02)), self._send_away, actor)
        for actor in actors:
            try:
                await actor
            except asyncio.CancelledError:
                if actor not in self.sent_away:
                    raise Wrong("somebody was cancelled whom nobody sent away") from None
                self.tally["cancelled"] += 1
        await asyncio.sleep(SETTLE * 1.5)
        for who in CALLERS:
            for record in RECORDS:
                with suppress(InterlockError):
                    await self._read(who, record)
        await self._close()
        return self.tally

    def _send_away(self, actor: asyncio.Future[None]) -> None:
        if not actor.done():
            self.sent_away.add(actor)
            actor.cancel()

    async def _close(self) -> None:
        for layers in self.all:
            for layer in layers:
                name = type(layer).__name__
                for count in ("hits", "joined", "retries", "won"):
                    if found := getattr(layer, count, 0):
                        self.tally[f"{name} {count}"] += found
                if hasattr(layer, "aclose"):
                    await layer.aclose()
        await asyncio.sleep(0.001)  # what strikes itself off when it has ended, does
        for layers in self.all:
            for layer in layers:
                _check_empty(layer)

    async def _act(self) -> None:
        draw = self.draw
        for _ in range(draw.randint(1, 5)):
            who, record = draw.choice(CALLERS), draw.choice(RECORDS)
            with suppress(InterlockError):
                match draw.choices(_DEEDS, _OFTEN)[0]:
                    case "read":
                        await self._read(who, record)
                    case "burst":
                        await self._burst(who)
                    case "write":
                        await self._write(who, record)
                    case "foreign":
                        await self._foreign(who.tenant_id, record, missed=False)
                    case "resync":
                        await self._foreign(who.tenant_id, record, missed=True)
                    case "switch":
                        self.switch()
                    case "wait":
                        await asyncio.sleep(draw.choice((0, 0.001, 0.02, 0.2)))

    async def _burst(self, who: Identity) -> None:
        """Several reads at once, one of which may be given up."""
        reads = [asyncio.ensure_future(self._read(who, self.draw.choice(RECORDS))) for _ in range(3)]
        if self.draw.random() < 0.5:
            asyncio.get_running_loop().call_later(self.draw.choice((0, 0.001, 0.005)), self._send_away, reads[0])
        try:
            await asyncio.wait(reads)
        finally:
            for read in reads:
                self._send_away(read)
        for read in reads:
            if read.cancelled() and read not in self.sent_away:
                raise Wrong("a read was cancelled that nobody gave up")
            if not read.cancelled() and not isinstance(error := read.exception(), InterlockError | None):
                raise error

    def switch(self) -> None:
        """A new route, to a backend that holds the same."""
        self.epoch += 1
        self.tally["switches"] += self.epoch > 1
        store = Store(self.truth, self.draw, self.epoch, self.stack.varies)
        self.all.append(self.stack.around(store, self.told))

    async def _foreign(self, tenant: str, record: str, *, missed: bool) -> None:
        """Somebody else writes, and the change is told of at once; or it is missed, and later that something was missed is told of."""
        key = (tenant, record)
        version = self.truth.commit(key)
        change = Change(kind="updated", resource="tags", record_id=record, version=version)
        try:
            if missed:
                change = Change(kind="resync", resource="tags")
                await asyncio.sleep(self.draw.choice((0, 0.01, 0.1)))
        finally:
            self.told.changed(tenant, change)
        self.tally["changes"] += 1
        self.truth.told(key, version)

    async def _write(self, who: Identity, record: str) -> None:
        self.operation += 1
        parts: dict[str, Any] = {"operation_id": str(self.operation), "epoch": self.epoch, "deadline": self._deadline()}
        if self.draw.random() < 0.3:
            request = Request("create", "tags", who, rows=(Tag(id=record, name="y"),), **parts)
        else:
            request = Request("update", "tags", who, ids=(record,), patch=MappingProxyType({"name": "y"}), **parts)
        answer = await self._ask(request)
        self.tally["writes"] += 1
        self.truth.told((who.tenant_id, record), answer.outcomes[0].row.version)  # type: ignore[union-attr]  # the store's rows

    def _deadline(self) -> float | None:
        if self.draw.random() < 0.7:
            return None
        return asyncio.get_running_loop().time() + self.draw.choice((0.0005, 0.005, 0.015, 0.1))

    async def _ask(self, request: Request) -> Response:
        """The answer; also of the errors, only those that may be."""
        loop, began = asyncio.get_running_loop(), self.truth.next()
        try:
            answer: Response = await self.all[-1][0].handle(request)
        except Failing as error:
            if error.made < began:
                raise Wrong("an error from before the call") from error
            self.tally["failures"] += 1
            raise
        except Invalid as error:
            if BAD not in request.ids:
                raise Wrong("somebody else's bad id") from error
            raise
        except DeadlineExceeded as error:
            if not self.stack.limited and (request.deadline is None or loop.time() < request.deadline):
                raise Wrong("somebody else's deadline") from error
            self.tally["late"] += 1
            raise
        finally:
            if self.stack.prompt and request.deadline is not None and loop.time() > request.deadline:
                raise Wrong("a call outlasted its deadline")
        return answer

    async def _read(self, who: Identity, record: str) -> None:
        draw, key = self.draw, (who.tenant_id, record)
        now = asyncio.get_running_loop().time()
        least = self.truth.least(key, now)
        parts: dict[str, Any] = {"epoch": self.epoch, "deadline": self._deadline()}
        how = draw.random()
        if how < 0.5:
            other = draw.choice((record, *RECORDS, BAD)) if how < 0.2 else record
            ids = (record, other) if how < 0.1 else (other, record)
            request = Request("get", "tags", who, ids=(record,) if other == record else ids, **parts)
        elif how < 0.8:
            request = Request("find", "tags", who, query=Query(), **parts)
        else:
            request = Request("aggregate", "tags", who, query=Query(), aggregate=_SUMS, **parts)
        answer = await self._ask(request)
        self.tally["reads"] += 1
        self.tally["stale answers"] += answer.stale
        self._check(who, request, answer, record, least)

    def _check(self, who: Identity, request: Request, answer: Response, record: str, least: int) -> None:
        found = {row.id: (row.version, row.name, row.tenant_id) for row in answer.rows}
        found |= {group.key[0]: (group.values[0], *group.key[1:]) for group in answer.groups}
        self.trace(f"{request.verb} {who.user_id} {record} {found} {answer.cached} {answer.epoch}")
        if answer.epoch != request.epoch:
            raise Wrong(f"an answer of epoch {answer.epoch} in epoch {request.epoch}")
        whose = self.stack.varies
        mine = {"tenant": "all", "role": who.role, "user": who.user_id}[whose]
        for _, name, tenant in found.values():
            if tenant != who.tenant_id or name != mine:
                raise Wrong(f"a row of {tenant} for {name} was given to {who}")
        if request.verb == "get" and [*found] != [one for one in request.ids if one in found]:
            raise Wrong(f"{[*found]} for {request.ids}")
        version = found[record][0] if record in found else 0
        if version < least:
            raise Wrong(f"version {version} of {record} after {least} was acknowledged")


def _check_empty(layer: Any) -> None:
    """Nothing is left in a layer, nor held without being counted."""
    for name in ("_flights", "_flying", "_open", "_sending", "_running", "_queue", "_refreshes", "_seconds", "_trials"):
        if isinstance(held := getattr(layer, name, None), Sized) and len(held):
            raise Wrong(f"{type(layer).__name__}{name} still holds {held}")
    if getattr(layer, "in_use", 0):
        raise Wrong(f"{layer.in_use} places were never given back")
    if hasattr(layer, "kept"):
        kept = 0
        for held in layer._scopes.values():
            kept += len(held)
            found = {key for keys in held.of_record.values() for key in keys}
            if found != set(held.gets):
                raise Wrong(f"{found ^ set(held.gets)} are not found by record, or are gone and not forgotten")
        if not 0 <= kept == layer.kept <= layer._settings.entries:
            raise Wrong(f"{kept} answers are held, {layer.kept} counted, {layer._settings.entries} allowed")


def run(seed: int, stack: Stack, trace: Callable[[str], None] = lambda line: None) -> Counter[str]:
    """Play one schedule; answers what happened. `trace` is told of every answer."""
    return simulate(lambda draw: World(draw, stack, trace).play(), seed)


LEAST: Final = {
    "reads": 5.0,
    "writes": 1.0,
    "Cache hits": 0.5,
    "SingleFlight joined": 0.1,
    "gathered": 0.01,
    "cancelled": 0.5,
    "changes": 0.3,
    "switches": 0.3,
    "failures": 0.5,
    "late": 0.3,
    "refused": 0.2,
    "rejected": 0.05,
    "unknown": 0.1,
    "landed late": 0.2,
    "repeated": 0.1,
    "Retry retries": 0.3,
    "Hedge won": 0.01,
    "stale answers": 0.001,
}
"""How often each must have come up, per schedule."""


def played(play: Callable[[int], Counter[str]], seeds: range, least: Mapping[str, float]) -> Counter[str]:
    """What came up in the schedules of the seeds. Raises AssertionError at the first one that goes wrong, and where something came up too seldom."""
    tally = Counter[str]()
    for seed in seeds:
        try:
            tally.update(play(seed))
        except (Exception, asyncio.CancelledError) as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    short = {name: tally[name] for name, share in least.items() if tally[name] < int(share * len(seeds))}
    assert not short, f"too seldom in {len(seeds)} schedules: {short}"
    return tally
