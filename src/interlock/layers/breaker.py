"""Circuit breakers: a backend that fails is left alone for a while, then tried by few."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded, OutcomeUnknown, Unavailable
from interlock.layers.trials import Trials

__all__ = ["Breaker", "BreakerSettings", "State"]

State = Literal["closed", "open", "half_open"]

_SICK: Final = (Unavailable, DeadlineExceeded, OutcomeUnknown)
"""What speaks against the backend. Errors of the caller's, and `RateLimited`, which is an answer, do not."""

_SLICES: Final = 10


class BreakerSettings(msgspec.Struct, frozen=True):
    """Opens when, of at least `calls` calls within `window` seconds, the share `failures` failed or the share `slowness` took more than `slow` seconds.

    Stays open for `pause` seconds, up to a quarter more or less, then lets `permits` calls try; each has `lease` seconds to come back.
    """

    window: float = 10.0
    calls: int = 20
    failures: float = 0.5
    slow: float = 10.0
    slowness: float = 0.8
    pause: float = 2.0
    permits: int = 2
    lease: float = 30.0


class Breaker:
    """Closed: every call passes. Open: none does, and each is `Unavailable` at once, with the seconds that are left.

    Half-open: at most `permits` pass, and of all the breakers that share `trials` no more than those allow; where all of them succeed it closes, where one fails it opens again.
    A caller's own cancellation counts for nothing.
    """

    def __init__(
        self,
        inner: Backend,
        settings: BreakerSettings,
        *,
        name: str = "the backend",
        trials: Trials | None = None,
        clock: Callable[[], float] | None = None,
        draw: random.Random | None = None,
    ) -> None:
        self._inner = inner.handle
        self._settings = settings
        self._name = name
        self._clock = clock
        self._draw = draw or random.Random()  # noqa: S311 - spreads the openings, keeps no secret
        self._window = _Window(settings.window)
        self._until = 0.0
        self._trials: dict[object, float] = {}
        self._shared = trials or Trials(settings.permits)
        self._passed = 0
        self.state: State = "closed"

    async def handle(self, request: Request) -> Response:
        """The inner answer, or `Unavailable` at once."""
        clock = self._clock
        if clock is None:
            # Asked once: which loop runs costs more than all the rest.
            clock = self._clock = asyncio.get_running_loop().time
        now = clock()
        trial = None if self.state == "closed" else self._permit(now)
        try:
            answer = await self._inner(request)
        except _SICK:
            self._ended(now, clock(), trial, failed=True)
            raise
        except Exception:
            # An error of the caller's is an answer: the backend is there.
            self._ended(now, clock(), trial, failed=False)
            raise
        except BaseException:
            self._trials.pop(trial, None)
            self._shared.end(trial)
            raise
        ended, window = clock(), self._window
        if trial is None and ended < window.quiet_until and ended - now <= self._settings.slow:
            window.well += 1
        else:
            self._ended(now, ended, trial, failed=False)
        return answer

    def _permit(self, now: float) -> object:
        """A trial of its own, or `Unavailable`."""
        if self.state == "open":
            if now < self._until:
                raise Unavailable(
                    f"{self._name} was failing and is left alone", retry_after=round(self._until - now, 3)
                )
            self.state, self._passed = "half_open", 0
            self._trials.clear()
        for old in [trial for trial, until in self._trials.items() if until <= now]:
            del self._trials[old]
        if len(self._trials) + self._passed >= self._settings.permits:
            raise Unavailable(f"{self._name} was failing and is being tried", retry_after=0.1)
        trial = object()
        if not self._shared.take(trial, now, self._settings.lease):
            raise Unavailable(f"{self._name} was failing, and the backend is being tried", retry_after=0.1)
        self._trials[trial] = now + self._settings.lease
        return trial

    def _ended(self, began: float, now: float, trial: object, *, failed: bool) -> None:
        slow = now - began > self._settings.slow
        if trial is not None:
            self._shared.end(trial, self._pause_from(now) if failed or slow else 0.0)
            if self._trials.pop(trial, None) is not None and self.state == "half_open":
                self._tried(now, failed=failed or slow)
        elif self.state == "closed":
            calls, failures, slowness = self._window.count(now, failed=failed, slow=slow)
            settings = self._settings
            if calls >= settings.calls and (
                failures >= settings.failures * calls or slowness >= settings.slowness * calls
            ):
                self._open(now)

    def _tried(self, now: float, *, failed: bool) -> None:
        if failed:
            self._open(now)
            return
        self._passed += 1
        if self._passed >= self._settings.permits:
            self.state = "closed"

    def _open(self, now: float) -> None:
        self.state = "open"
        self._trials.clear()
        self._window = _Window(self._settings.window)
        self._until = self._pause_from(now)

    def _pause_from(self, now: float) -> float:
        return now + self._settings.pause * self._draw.uniform(0.75, 1.25)


class _Window:
    """Counts of the last seconds, in slices.

    Until `quiet_until`, the end of a slice before which nothing spoke against the backend, a call that went well is
    but one more in `well`.
    """

    __slots__ = ("_calls", "_failures", "_length", "_slices", "_slow", "quiet_until", "well")

    def __init__(self, seconds: float) -> None:
        self._length = seconds / _SLICES
        self._slices: deque[list[float]] = deque()
        self._calls = self._failures = self._slow = 0
        self.quiet_until = 0.0
        self.well = 0

    def count(self, now: float, *, failed: bool, slow: bool) -> tuple[int, int, int]:
        """One call more; answers calls, failures and slow ones of the window."""
        slices = self._slices
        if self.well:
            slices[-1][1] += self.well
            self._calls += self.well
            self.well = 0
        if not slices or now >= slices[-1][0] + self._length:
            slices.append([now, 0, 0, 0])
        last = slices[-1]
        last[1] += 1
        self._calls += 1
        if failed:
            last[2] += 1
            self._failures += 1
        if slow:
            last[3] += 1
            self._slow += 1
        while slices[0][0] < now - self._length * _SLICES:
            _, calls, failures, slowness = slices.popleft()
            self._calls -= int(calls)
            self._failures -= int(failures)
            self._slow -= int(slowness)
        self.quiet_until = 0.0 if self._failures or self._slow else last[0] + self._length
        return self._calls, self._failures, self._slow
