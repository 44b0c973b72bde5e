"""Hedging: a read that takes longer than nearly all of its kind is asked a second time, and the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextvars import Context, copy_context

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
        self._kinds: dict[Hashable, _Kind] = {}
        self._seconds: set[asyncio.Task[Response]] = set()
        self._tokens = 0.0
        self.sent = 0
        self.won = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, of whichever call brought it first."""
        if request.verb not in READS:
            return await self._inner(request)
        if self._tokens < self._settings.burst:
            self._tokens += self._settings.ratio
        time = asyncio.get_running_loop().time
        kind = self._kinds.get((request.resource, request.verb))
        if kind is None or kind.delay is None:
            began = time()
            answer = await self._inner(request)
            self._answered(request, kind, time() - began)
            return answer
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        race = _Race(task, request, time())
        kind.waiting[race] = None
        if kind.timer is None:
            kind.timer = task.get_loop().call_at(race.began + kind.delay, self._late, kind)
        try:
            answer = await self._inner(request)
        except BaseException as error:  # noqa: BLE001 - it is raised again, unless there is an answer
            return await self._failed(kind, race, error)
        kind.waiting.pop(race, None)
        kind.took(time() - race.began, self._settings)
        if race.second is not None:
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

    def _answered(self, request: Request, kind: _Kind | None, seconds: float) -> None:
        # Made for what was answered only, so that there are no more kinds than resources.
        if kind is None:
            kind = self._kinds.setdefault((request.resource, request.verb), _Kind())
        kind.took(seconds, self._settings)

    def _late(self, kind: _Kind) -> None:
        """Send again what has taken too long, and come back for the next."""
        loop, delay = asyncio.get_running_loop(), kind.delay or 0.0
        now = loop.time()
        kind.timer = None
        for race in tuple(kind.waiting):
            if race.began + delay > now:
                # However many wait, they are looked through ten times in the time that each of them is given.
                kind.timer = loop.call_at(max(race.began + delay, now + delay / 10), self._late, kind)
                return
            del kind.waiting[race]
            if self._tokens >= 1.0:
                self._tokens -= 1.0
                self._send(race)

    def _send(self, race: _Race) -> None:
        self.sent += 1
        # The timer's context is that of whoever set it; the call's own goes with the second one.
        second = race.second = race.task.get_loop().create_task(self._again(race.request), context=race.context)
        self._seconds.add(second)
        second.add_done_callback(self._seconds.discard)
        second.add_done_callback(race.landed)

    async def _again(self, request: Request) -> Response:
        return await self._inner(request)

    async def _failed(self, kind: _Kind, race: _Race, error: BaseException) -> Response:
        """The second call's answer, or the error."""
        kind.waiting.pop(race, None)
        race.running = False
        seconds = race.task.get_loop().time() - race.began
        if kind.delay is not None and seconds >= kind.delay:
            # What was cut off would have taken longer still: left out, the estimate would sink with every answer that a second call brings.
            kind.took(seconds, self._settings)
        second = race.second
        if second is None:
            raise error
        if race.won:
            others = race.task.uncancel() - race.cancelling
            if isinstance(error, asyncio.CancelledError) and others > 0:
                raise error
            self.won += 1
            return second.result()
        if not isinstance(error, Exception):
            second.cancel()
            if isinstance(error, asyncio.CancelledError):
                await asyncio.wait((second,))
            raise error
        if not _may_be_better(error):
            await race.stop()
            raise error
        try:
            await asyncio.wait((second,))
        except asyncio.CancelledError:
            await race.stop()
            raise
        if second.cancelled() or second.exception() is not None:
            raise error
        self.won += 1
        return second.result()


def _may_be_better(error: Exception) -> bool:
    """True where another call may yet be answered."""
    return isinstance(error, InterlockError) and (error.status >= 500 or isinstance(error, RateLimited))


class _Kind:
    """The reads of one resource and verb: how long the last ones took, and those that are not late yet, oldest first."""

    __slots__ = ("delay", "fresh", "recent", "timer", "waiting")

    def __init__(self) -> None:
        self.delay: float | None = None
        self.fresh: list[float] = []
        self.recent: list[float] = []
        self.timer: asyncio.TimerHandle | None = None
        self.waiting: dict[_Race, None] = {}

    def took(self, seconds: float, settings: HedgeSettings) -> None:
        """One more was answered."""
        self.fresh.append(seconds)
        if len(self.fresh) >= _AT_ONCE or (self.delay is None and len(self.fresh) + len(self.recent) >= settings.known):
            self.recent = (self.recent + self.fresh)[-settings.recent :]
            self.fresh.clear()
            if self.delay is not None or len(self.recent) >= settings.known:
                place = min(int(len(self.recent) * settings.quantile), len(self.recent) - 1)
                self.delay = max(settings.floor, sorted(self.recent)[place])

    def stop(self) -> None:
        """No more second calls for those that run."""
        self.waiting.clear()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Race:
    """A first call, in its caller's task, and perhaps a second one, in a task of its own."""

    __slots__ = ("began", "cancelling", "context", "request", "running", "second", "task", "won")

    def __init__(self, task: asyncio.Task[object], request: Request, began: float) -> None:
        self.task = task
        self.request = request
        self.began = began
        self.cancelling = task.cancelling()
        self.context: Context = copy_context()
        self.running = True
        self.won = False
        self.second: asyncio.Task[Response] | None = None

    def landed(self, second: asyncio.Task[Response]) -> None:
        """The second call has ended: where it has the first answer, the first call is interrupted."""
        if not second.cancelled() and second.exception() is None and self.running:
            self.won = True
            self.task.cancel()

    async def answered(self) -> None:
        """The first call has ended by itself."""
        self.running = False
        if self.won:
            # It was interrupted and answered all the same: its task is not to be cancelled for it.
            self.task.uncancel()
        else:
            await self.stop()

    async def stop(self) -> None:
        """Cancel the second call and see it end."""
        if self.second is not None and not self.second.done():
            self.second.cancel()
            await asyncio.wait((self.second,))
