"""Measuring: rounds in which the backends take turns, and what their calls took."""

from __future__ import annotations

import asyncio
import gc
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import ceil
from statistics import median
from time import perf_counter
from typing import Final

from interlock.cli.benching.contender import Call, Contender
from interlock.cli.benching.plan import MOST_CALLS, Plan
from interlock.errors import InterlockError

__all__ = ["Bench", "Cell", "Turn", "take", "timed"]

WARM: Final = 10
"""Calls before the first round that do not count."""

GIVE_UP: Final = 3
"""Failures in a row, at the warm-up, after which a verb is not measured on a backend."""

DRAIN: Final = 5.0
"""Seconds that calls in flight have to end when the bench is interrupted."""

BREATH: Final = 64
"""Calls after which the event loop gets its turn where no call gives it one."""


@dataclass
class Turn:
    """What one turn of one backend gave. `seconds` is the time that all of its calls took together."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    done: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good calls a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0


@dataclass
class Cell:
    """All turns of one backend with one verb and one number of calls at once."""

    contender: Contender
    verb: str
    at_once: int
    latencies: array[float] = field(default_factory=lambda: array("d"))
    errors: Counter[str] = field(default_factory=Counter)
    rates: list[float] = field(default_factory=list)
    hits: int = 0
    misses: int = 0
    asked: int = 0
    gave_up: bool = False
    expected: float = 0.0
    """Good calls a second, as the last turn had them."""

    def add(self, turn: Turn) -> None:
        """Count a turn."""
        self.latencies.extend(turn.latencies)
        self.errors.update(turn.errors)
        self.rates.append(turn.rate)
        self.expected = turn.rate

    @property
    def rate(self) -> float | None:
        """Calls a second, the median of the turns."""
        return median(self.rates) if self.latencies else None

    def percentile(self, share: float) -> float | None:
        """The latency, in seconds, that this share of all good calls did not exceed: by nearest rank, of every call."""
        return nearest(sorted(self.latencies), share)


def nearest(ordered: Sequence[float], share: float) -> float | None:
    """The value at the nearest rank, None of nothing."""
    if not ordered:
        return None
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)]


async def timed(calls: Sequence[Call], at_once: int, seconds: float = float("inf")) -> Turn:
    """Send the calls, so many at once, each as soon as one before it has ended; no new one after `seconds`.

    Where this is cancelled, calls in flight may end, so that no write is left without its outcome.
    """
    turn = Turn()
    left = iter(calls)
    stopped = asyncio.Event()
    begun = perf_counter()
    workers = [
        asyncio.ensure_future(_work(left, turn, begun + seconds, stopped.is_set))
        for _ in range(min(at_once, len(calls)))
    ]
    try:
        await asyncio.wait(workers)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait(workers, timeout=DRAIN)
        raise
    finally:
        for worker in workers:
            worker.cancel()
        turn.unused += [call.id for call in left]
    turn.seconds = perf_counter() - begun
    for worker in workers:
        worker.result()
    return turn


async def _work(left: Iterator[Call], turn: Turn, until: float, stopped: Callable[[], bool]) -> None:
    for number, call in enumerate(left, 1):
        begun = perf_counter()
        if begun >= until or stopped():
            turn.unused.append(call.id)
            return
        try:
            await call.run()
        except InterlockError as error:
            turn.errors[error.code] += 1
        else:
            turn.latencies.append(perf_counter() - begun)
            turn.done.append(call.id)
        if number % BREATH == 0:
            await asyncio.sleep(0)


async def take(contender: Contender, verb: str, first: int, count: int, at_once: int, seconds: float) -> Turn:
    """One turn of a backend: so many calls of a verb, or those that the time allows."""
    await contender.stock(verb, count)
    calls = contender.calls(verb, first, count)
    gc.collect(1)
    turn = await timed(calls, at_once, seconds)
    contender.settle(verb, turn.done, turn.unused)
    return turn


class Bench:
    """A bench under way. `cells` has what was measured so far, also after an interruption."""

    def __init__(self, plan: Plan, contenders: Sequence[Contender]) -> None:
        self.plan = plan
        self.contenders = tuple(contenders)
        self.cells = [
            Cell(contender, verb, at_once)
            for at_once, verb, contender in product(plan.concurrency, plan.verbs, self.contenders)
        ]

    @property
    def turns(self) -> int:
        """How many turns there will be, the warm-up among them."""
        return sum(1 + self.plan.rounds_of(cell.at_once) for cell in self.cells)

    async def run(self, step: Callable[[str], None]) -> None:
        """Measure everything. `step` is told before each turn what comes."""
        for at_once in self.plan.concurrency:
            rounds = self.plan.rounds_of(at_once)
            for number in range(-1, rounds):
                for verb in self.plan.verbs:
                    cells = [cell for cell in self.cells if (cell.verb, cell.at_once) == (verb, at_once)]
                    turned = (number + 1) % len(cells) if cells else 0
                    for cell in cells[turned:] + cells[:turned]:
                        step(f"{verb} on {cell.contender.name}, {at_once} at once")
                        if number < 0:
                            await self._warm(cell)
                        elif not cell.gave_up:
                            await self._measure(cell, number, rounds)

    async def _warm(self, cell: Cell) -> None:
        """Calls that do not count. A backend that fails them all is asked no more of this verb, and its errors are shown."""
        tried = await self._turn(cell, GIVE_UP, 1, self.plan.seconds)
        if not tried.latencies:
            cell.errors.update(tried.errors)
            cell.gave_up = True
            return
        warm = await self._turn(cell, max(WARM, cell.at_once), cell.at_once, self.plan.seconds / self.plan.rounds)
        cell.expected = max(warm.rate, tried.rate)

    async def _measure(self, cell: Cell, number: int, rounds: int) -> None:
        plan = self.plan
        if plan.calls is not None:
            count, seconds = plan.calls // rounds + (number < plan.calls % rounds), float("inf")
        else:
            seconds = plan.seconds / rounds
            count = max(cell.at_once, min(int(cell.expected * seconds * 1.5), MOST_CALLS // rounds))
        before = await cell.contender.cache()
        turn = await self._turn(cell, count, cell.at_once, seconds)
        after = await cell.contender.cache()
        cell.hits += after[0] - before[0]
        cell.misses += after[1] - before[1]
        cell.add(turn)

    async def _turn(self, cell: Cell, count: int, at_once: int, seconds: float) -> Turn:
        first = cell.asked
        cell.asked += count
        return await take(cell.contender, cell.verb, first, count, at_once, seconds)
