"""A small world of limits: too many callers, who leave at any moment, before a backend that fails, hangs and recovers.

`run(seed)` plays one schedule and raises `Wrong` where a limit is broken, a place or a wake-up is lost, somebody is passed over, or an error says
what is not so.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import msgspec
from tests.layers.races import Wrong

from interlock.contract import Backend, Identity, Request, Response
from interlock.errors import DeadlineExceeded, Forbidden, InterlockError, OutcomeUnknown, RateLimited, Unavailable
from interlock.layers.breaker import Breaker, BreakerSettings
from interlock.layers.bulkhead import Bulkhead
from interlock.layers.deadline import Deadline
from interlock.layers.retry import Budget, Retry, RetrySettings
from interlock.layers.trials import Trials
from interlock.testing.simulation import simulate

ME = Identity("u", "t", "admin")
KINDS = (
    ("bulkhead",),
    ("bulkhead", "deadline"),
    ("deadline",),
    ("retry",),
    ("breaker",),
    ("retry", "breaker"),
    ("deadline", "bulkhead", "retry", "breaker"),
)
LEAST = {
    "calls": 10.0,
    "refused": 0.1,
    "queued": 0.3,
    "left": 0.5,
    "late": 0.2,
    "retries": 0.2,
    "unknown": 0.1,
    "opened": 0.05,
    "tried": 0.03,
    "closed again": 0.02,
}
LEASE = 1000.0


class Call(msgspec.Struct):
    """One caller's call, as the world saw it."""

    number: int
    began: float
    request: Request
    attempts: list[float] = []
    unknown: bool = False
    not_before: float = 0.0
    leaves: float = 1e9
    """When it gives up, or was given up."""


class Sick:
    """Counts who is inside; fails as the phase says."""

    def __init__(self, draw: random.Random, world: World) -> None:
        self.draw = draw
        self.world = world
        self.bad = draw.choice((0.0, 0.2, 0.8))
        self.slow = True

    async def handle(self, request: Request) -> Response:
        world, loop = self.world, asyncio.get_running_loop()
        call = world.calls[request.resource]
        world.enter(call, loop.time(), request)
        try:
            await asyncio.sleep(self.draw.choice((0, 0.001, 0.01, 0.05)) if self.slow else 0)
            if self.draw.random() < self.bad:
                self._fail(call, request, loop.time())
            elif self.draw.random() < 0.05:
                raise Forbidden("not now")
            return Response()
        finally:
            world.inside.discard(request.resource)

    def _fail(self, call: Call, request: Request, now: float) -> None:
        match self.draw.randrange(3):
            case 0:
                wait = self.draw.choice((None, 0.02))
                call.not_before = now + (wait or 0)
                self.world.failures += 1
                raise Unavailable("sick", retry_after=wait)
            case 1:
                call.not_before = now + 0.01
                raise RateLimited(retry_after=0.01)
            case _:
                self.world.failures += 1
                if request.verb == "update":
                    self.world.tally["unknown"] += 1
                    call.unknown = True
                    raise OutcomeUnknown(request.operation_id)
                raise Unavailable("sick")


class World:
    """One schedule."""

    def __init__(self, draw: random.Random, kind: tuple[str, ...]) -> None:
        self.draw = draw
        self.tally: Counter[str] = Counter()
        self.calls: dict[str, Call] = {}
        self.inside: set[str] = set()
        self.trying: set[str] = set()
        self.waiting: dict[int, Call] = {}
        self.gone: Counter[float] = Counter()
        self.failures = 0
        self.sick = Sick(draw, self)
        self.most, self.queue = draw.choice((1, 1, 2)), draw.choice((1, 2, 3))
        self.seconds = draw.choice((0.02, 0.06))
        self.repeats = draw.random() < 0.5
        self.permits = draw.choice((1, 2))
        self.bulkhead: Bulkhead | None = None
        self.breaker: Breaker | None = None
        self.retry: Retry | None = None
        self.deadline: Deadline | None = None
        inner: Backend = self.sick
        if "breaker" in kind:
            rules = BreakerSettings(calls=4, failures=0.5, pause=0.05, permits=self.permits, lease=LEASE, window=1.0)
            inner = self.breaker = Breaker(inner, rules, draw=draw, trials=Trials(2))
        if "retry" in kind:
            self.budget = Budget(0.1, 3)
            settings = RetrySettings(cap=0.05, base=0.01)
            inner = self.retry = Retry(inner, settings, self.budget, draw, repeats=self.repeats)
        if "bulkhead" in kind:
            inner = self.bulkhead = Bulkhead(inner, self.most, self.queue)
        if "deadline" in kind:
            inner = self.deadline = Deadline(inner, self.seconds)
        self.handle = inner.handle

    # -- what the backend sees -------------------------------------------------------------------------------------

    def enter(self, call: Call, now: float, request: Request) -> None:
        """A call, or one more attempt of it, has come through."""
        self.inside.add(request.resource)
        if self.bulkhead is not None and len(self.inside) > self.most:
            raise Wrong(f"{len(self.inside)} calls inside where {self.most} may be")
        if not call.attempts and self.bulkhead is not None:
            self.tally["queued"] += now > call.began
            passed = [one for one in self.waiting.values() if one.began < call.began and one.leaves > now]
            if len(passed) + len(self.inside) > self.most:  # unless they have places, and will be there in a moment
                raise Wrong("a call went before one that had waited longer")
        self.waiting.pop(call.number, None)
        if request.deadline is not None and now > request.deadline:
            raise Wrong("a call was sent after its deadline")
        if call.attempts:
            self._again(call, now, request)
        if self.breaker is not None and self.breaker.state != "closed":
            self.tally["tried"] += 1
            self.trying.add(request.resource)
            if len(self.trying & self.inside) > self.permits:
                raise Wrong(f"more than {self.permits} try a sick backend")
        call.attempts.append(now)

    def _again(self, call: Call, now: float, request: Request) -> None:
        self.tally["retries"] += 1
        if self.retry is None or len(call.attempts) >= 3:
            raise Wrong("one attempt too many")
        if request.verb == "update" and not request.operation_id:
            raise Wrong("a write that nobody would know again was sent twice")
        if call.unknown and not self.repeats:
            raise Wrong("a write of unknown outcome was sent again")
        if now < call.not_before:
            raise Wrong("a call was sent again before the backend wanted it")

    # -- who calls -------------------------------------------------------------------------------------------------

    async def play(self) -> Counter[str]:
        """A crowd, in phases of good and bad health; then one call after another, when all is well."""
        crowd = [asyncio.ensure_future(self._come()) for _ in range(self.draw.randint(4, 12))]
        changing = asyncio.ensure_future(self._change())
        await asyncio.gather(*crowd)
        await changing
        self.sick.bad, self.sick.slow = 0.0, False
        if self.breaker is not None and self.breaker.state != "closed":
            self.tally["opened"] += 1
        await self._recover()
        self._check_rest()
        return self.tally

    async def _change(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0.05)
            self.sick.bad = self.draw.choice((0.0, 0.2, 1.0))

    async def _come(self) -> None:
        for _ in range(self.draw.randint(1, 4)):
            call = self._prepare()
            task = asyncio.ensure_future(self._call(call))
            if self.draw.random() < 0.3:
                after = self.draw.choice((0, 0, 0.001, 0.01, 0.011))
                asyncio.get_running_loop().call_later(after, self._give_up, call, task)
            with suppress(InterlockError, asyncio.CancelledError):
                await task
            await asyncio.sleep(self.draw.choice((0, 0, 0.001, 0.02)))

    def _give_up(self, call: Call, task: asyncio.Future[None]) -> None:
        call.leaves = min(call.leaves, asyncio.get_running_loop().time())
        task.cancel()

    def _prepare(self) -> Call:
        loop, draw, number = asyncio.get_running_loop(), self.draw, len(self.calls)
        now = loop.time()
        deadline = now + draw.choice((0.001, 0.01, 0.03)) if draw.random() < 0.4 else None
        if draw.random() < 0.5:
            request = Request("get", str(number), ME, ids=("r",), deadline=deadline)
        else:
            operation = draw.choice(("", "o", "o"))
            patch = MappingProxyType({"name": "y"})
            request = Request(
                "update", str(number), ME, ids=("r",), patch=patch, operation_id=operation, deadline=deadline
            )
        ends = [now + 1e9 if deadline is None else deadline]
        if self.deadline is not None:
            ends.append(now + self.seconds)
        call = self.calls[request.resource] = Call(number, now, request, attempts=[], leaves=min(ends))
        return call

    async def _call(self, call: Call) -> None:
        loop, number, request = asyncio.get_running_loop(), call.number, call.request
        self.waiting[number] = call
        self.tally["calls"] += 1
        task: Any = asyncio.current_task()
        try:
            await self.handle(request)
        except asyncio.CancelledError:
            self.tally["left"] += 1
            if not task.cancelling():
                raise Wrong("somebody was cancelled whom nobody cancelled") from None
            raise
        except InterlockError as error:
            self._check(call, error, loop.time(), task)
            raise
        finally:
            if self.waiting.pop(number, None) is not None:
                self.gone[loop.time()] += 1
        if task.cancelling():
            raise Wrong("an answered call is still to be cancelled")

    def _check(self, call: Call, error: InterlockError, now: float, task: asyncio.Task[Any]) -> None:
        """An error that must be so."""
        if task.cancelling():
            raise Wrong(f"{error.code} hid that the caller was cancelled") from error
        if call.unknown and not isinstance(error, OutcomeUnknown):
            raise Wrong(f"{error.code} hid that the write may yet land") from error
        ends = [call.request.deadline] if call.request.deadline is not None else []
        if self.deadline is not None:
            ends.append(call.began + self.seconds)
        if isinstance(error, DeadlineExceeded):
            self.tally["late"] += 1
            if not ends or now < min(ends):
                raise Wrong("late before the deadline") from error
            if self.deadline is not None and call.attempts and call.request.operation_id:
                raise Wrong("a write that was sent is unknown, not late") from error
        if self.deadline is not None and now > min(ends):
            raise Wrong("a call outlasted its deadline") from error
        if isinstance(error, RateLimited) and self.bulkhead is not None and not call.attempts:
            self.tally["refused"] += 1
            # Who left at this very moment may still be counted.
            here = sum(one is not call for one in self.waiting.values()) + self.gone[now]
            if here < self.queue:
                raise Wrong(f"refused with {here} waiting where {self.queue} may") from error

    # -- at rest ---------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """All is well: soon every call goes through."""
        was_open = self.breaker is not None and self.breaker.state != "closed"
        await asyncio.sleep(1.0)
        for n in range(6):
            number = len(self.calls)
            request = Request("get", str(number), ME, ids=("r",))
            self.calls[request.resource] = Call(number, asyncio.get_running_loop().time(), request, attempts=[])
            with suppress(Forbidden):
                try:
                    await self.handle(request)
                except (Unavailable, RateLimited, DeadlineExceeded) as error:
                    raise Wrong(f"call {n} after all was well: {error}") from error
        self.tally["closed again"] += was_open and self.breaker is not None and self.breaker.state == "closed"

    def _check_rest(self) -> None:
        if self.bulkhead is not None and (self.bulkhead.in_use or self.bulkhead._queue):
            raise Wrong(f"{self.bulkhead.in_use} places are in use, and nobody is there")
        if self.breaker is not None and (self.breaker.state != "closed" or self.breaker._trials):
            raise Wrong(f"the breaker is {self.breaker.state}, {len(self.breaker._trials)} trials are out")
        if self.deadline is not None and self.deadline._running:
            raise Wrong("a call that has ended is still timed")
        if self.retry is not None:
            allowed = 3 + 0.1 * len(self.calls)
            if self.tally["retries"] > allowed:
                raise Wrong(f"{self.tally['retries']} retries of {len(self.calls)} calls")


def run(seed: int) -> Counter[str]:
    """Play one schedule; answers what happened."""
    return simulate(lambda draw: World(draw, KINDS[seed % len(KINDS)]).play(), seed)
