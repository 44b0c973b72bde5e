"""Hedging: a read that takes longer than nearly all of its kind is asked a second time, and the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextvars import Context, copy_context
from typing import Any

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError, RateLimited
from interlock.layers.deadline import READS

__all__ = ["Hedge", "HedgeSettings"]

_AT_ONCE = 50
"""Calls after which the estimate is made anew: sorting a few hundred numbers is too dear for each of them."""


class HedgeSettings(msgspec.Struct, frozen=True):
    """A second call is sent after the time within which the share `quantile` of the `recent` calls of the same resource and verb was answered.

    Never before `floor` seconds, nor before `known` such calls have been answered, and at most for the share `ratio` of all reads; `burst` is
    the most that can have been saved up.
    """

    quantile: float = 0.95
    floor: float = 0.01
    known: int = 50
    recent: int = 250
    ratio: float = 0.05
    burst: float = 10.0


class Hedge:
    """Sends late reads a second time. Writes pass.

    The first answer wins; the other call is cancelled, and has ended when the answer is given. An error of the backend's waits for the other call, and where
    both fail the first call's error is raised; an error that is an answer (the request is wrong, or not allowed) is raised at once.
    A read that is answered in time costs two looks at the clock: it runs in its caller's task, and all reads of a kind share one timer.
    """

    def __init__(self, inner: Backend, settings: HedgeSettings) -> None:
        self._inner = inner.handle
        self._settings = settings
        self._ratio, self._most = settings.ratio, settings.burst
        self._kinds: dict[Hashable, _Kind] = {}
        self._seconds: set[asyncio.Task[Response]] = set()
        self._tokens = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.sent = 0
        self.won = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, of whichever call brought it first."""
        if request.verb not in READS:
            return await self._inner(request)
        if self._tokens < self._most:
            self._tokens += self._ratio
        # Which loop runs is asked once: it costs more than all the rest.
        task = asyncio.current_task(self._loop) or self._here()
        loop = task.get_loop()
        kind = self._kinds.get((request.resource, request.verb))
        if kind is None or kind.delay is None or task in kind.waiting:
            began = loop.time()
            answer = await self._inner(request)
            self._learned(request, kind, loop.time() - began)
            return answer
        began = loop.time()
        kind.waiting[task] = (began, request, task.cancelling(), copy_context())
        if kind.timer is None:
            kind.timer = loop.call_at(began + kind.delay, self._late, kind)
        try:
            answer = await self._inner(request)
        except BaseException as error:  # noqa: BLE001 - it is raised again, unless there is an answer
            return await self._failed(kind, task, began, error)
        kind.took(loop.time() - began)
        if kind.waiting.pop(task, None) is None and (race := kind.races.pop(task, None)) is not None:
            await race.answered()
        return answer

    def delay(self, resource: str, verb: str) -> float | None:
        """Seconds after which such a read is sent again; None while too few are known."""
        kind = self._kinds.get((resource, verb))
        return None if kind is None else kind.delay

    async def aclose(self) -> None:
        """Cancel the second calls; the first ones go on."""
        for kind in self._kinds.values():
            kind.stop()
        for second in tuple(self._seconds):
            second.cancel()
        await asyncio.gather(*self._seconds, return_exceptions=True)

    # -- the second call ------------------------------------------------------------------------------------------

    def _here(self) -> asyncio.Task[Any]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._loop = task.get_loop()
        return task

    def _learned(self, request: Request, kind: _Kind | None, seconds: float) -> None:
        # Made for what was answered only, so that there are no more kinds than resources.
        if kind is None:
            kind = self._kinds.setdefault((request.resource, request.verb), _Kind(self._settings))
        kind.took(seconds)

    def _late(self, kind: _Kind) -> None:
        """Send again what has taken too long, and come back for the next."""
        loop, delay = asyncio.get_running_loop(), kind.delay or 0.0
        now = loop.time()
        kind.timer = None
        for task, (began, request, cancelling, context) in tuple(kind.waiting.items()):
            if began + delay > now:
                # However many wait, they are looked through ten times in the time that each of them is given.
                kind.timer = loop.call_at(max(began + delay, now + delay / 10), self._late, kind)
                return
            del kind.waiting[task]
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                self.sent += 1
                # The timer's context is that of whoever set it; the call's own goes with the second one.
                second = loop.create_task(self._again(request), context=context)
                self._seconds.add(second)
                second.add_done_callback(self._seconds.discard)
                kind.races[task] = _Race(task, cancelling, second)

    async def _again(self, request: Request) -> Response:
        return await self._inner(request)

    async def _failed(self, kind: _Kind, task: asyncio.Task[object], began: float, error: BaseException) -> Response:
        """The second call's answer, or the error."""
        kind.waiting.pop(task, None)
        race = kind.races.pop(task, None)
        seconds = task.get_loop().time() - began
        if kind.delay is not None and seconds >= kind.delay:
            # What was cut off would have taken longer still: left out, the estimate would sink with every answer that a second call brings.
            kind.took(seconds)
        if race is None:
            raise error
        answer = await race.failed(error)
        self.won += 1
        return answer


def _may_be_better(error: BaseException) -> bool:
    """True where another call may yet be answered."""
    return isinstance(error, InterlockError) and (error.status >= 500 or isinstance(error, RateLimited))


_Waiting = tuple[float, Request, int, Context]
"""When a call began, what it asks for, how often its task had been cancelled before, and its context."""


class _Kind:
    """The reads of one resource and verb: how long the last ones took, those that are not late yet, oldest first, and those that were sent again."""

    __slots__ = ("delay", "fresh", "races", "recent", "settings", "timer", "waiting")

    def __init__(self, settings: HedgeSettings) -> None:
        self.settings = settings
        self.delay: float | None = None
        self.fresh: list[float] = []
        self.recent: list[float] = []
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: dict[asyncio.Task[Any], _Waiting] = {}
        self.races: dict[asyncio.Task[Any], _Race] = {}

    def took(self, seconds: float) -> None:
        """One more was answered."""
        fresh = self.fresh
        fresh.append(seconds)
        if len(fresh) >= _AT_ONCE or self.delay is None:
            self._estimate()

    def _estimate(self) -> None:
        settings = self.settings
        if self.delay is None and len(self.recent) + len(self.fresh) < settings.known:
            return
        self.recent = (self.recent + self.fresh)[-settings.recent :]
        self.fresh.clear()
        place = min(int(len(self.recent) * settings.quantile), len(self.recent) - 1)
        self.delay = max(settings.floor, sorted(self.recent)[place])

    def stop(self) -> None:
        """No more second calls for those that run."""
        self.waiting.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Race:
    """A first call, in its caller's task, against a second one, in a task of its own."""

    __slots__ = ("cancelling", "running", "second", "task", "won")

    def __init__(self, task: asyncio.Task[Any], cancelling: int, second: asyncio.Task[Response]) -> None:
        self.task = task
        self.cancelling = cancelling
        self.second = second
        self.running = True
        self.won = False
        second.add_done_callback(self._landed)

    def _landed(self, second: asyncio.Task[Response]) -> None:
        """The second call has ended: where it has the first answer, the first call is interrupted."""
        if not second.cancelled() and second.exception() is None and self.running:
            self.won = True
            self.task.cancel()

    async def answered(self) -> None:
        """The first call has brought an answer."""
        self.running = False
        if self.won:
            # It was interrupted and answered all the same: its task is not to be cancelled for it.
            self.task.uncancel()
        else:
            await self._stop()

    async def failed(self, error: BaseException) -> Response:
        """The first call has brought an error, by itself or interrupted: the second one's answer, or the error."""
        self.running = False
        if self.won:
            others = self.task.uncancel() > self.cancelling
            if others and isinstance(error, asyncio.CancelledError):
                raise error
            return self.second.result()
        if not isinstance(error, Exception | asyncio.CancelledError):
            self.second.cancel()  # nothing may be awaited any more
            raise error
        if not _may_be_better(error):
            await self._stop()
            raise error
        try:
            await asyncio.wait((self.second,))
        except asyncio.CancelledError:
            await self._stop()
            raise
        if self.second.cancelled() or self.second.exception() is not None:
            raise error
        return self.second.result()

    async def _stop(self) -> None:
        """Cancel the second call and see it end."""
        if not self.second.done():
            self.second.cancel()
            await asyncio.wait((self.second,))
