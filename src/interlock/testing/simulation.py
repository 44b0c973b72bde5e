"""An event loop whose schedule and clock are drawn from a seed: the same seed, the same run, whatever the machine does.

Each step runs one callback that is ready, drawn at random, so that every interleaving that a real loop could show may come up (and some that only a slower
one would). Time stands still while something is ready, and then jumps to the next timer. Nothing real is waited for: no sockets, no threads.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Stuck", "simulate"]

T = TypeVar("T")


class Stuck(AssertionError):
    """Everybody waits and no timer will wake anybody (a wake-up was lost), or nobody comes to an end."""


class _SimulatedLoop(asyncio.BaseEventLoop):
    def __init__(self, draw: random.Random, most: int) -> None:
        super().__init__()
        self._now = 0.0
        self._left = most
        self._draw = draw

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        # The lists are asyncio's own, and this is the one method of a loop that touches both.
        ready: Any = self._ready  # type: ignore[attr-defined]  # asyncio's stubs leave its queues out
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]  # as above
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Stuck("nobody can go on")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        self._left -= 1
        if self._left < 0:
            raise Stuck("they go round and round")
        place = self._draw.randrange(len(ready))
        ready.rotate(-place)
        handle = ready.popleft()
        ready.rotate(place)
        if not handle._cancelled:
            handle._run()

    def _write_to_self(self) -> None:
        """Nobody else wakes this loop."""

    def _process_events(self, event_list: object) -> None:
        """No events come from outside."""


def simulate(work: Callable[[random.Random], Coroutine[Any, Any, T]], seed: int, *, most: int = 100_000) -> T:
    """The result of the work, run on a schedule drawn from the seed.

    The work is given the same draw for choices of its own. Raises `Stuck` where everybody waits for ever or more than `most` callbacks run, and
    an error where a task is left running.
    """
    draw = random.Random(seed)  # noqa: S311 - a schedule, not a secret
    loop = _SimulatedLoop(draw, most)
    try:
        done = loop.run_until_complete(work(draw))
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        if left:
            raise AssertionError(f"{len(left)} tasks were left running: {left[0]!r}")
        return done
    finally:
        loop.close()
