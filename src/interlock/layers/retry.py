"""Retries: of what may be sent again, with full jitter, and never more than a share of the calls."""

from __future__ import annotations

import asyncio
import random
from typing import Final

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError, OutcomeUnknown, RateLimited, Unavailable
from interlock.layers.deadline import READS

__all__ = ["Budget", "Retry", "RetrySettings"]

_PASSING: Final = (Unavailable, RateLimited, OutcomeUnknown)
"""What may be gone the next time. A deadline that passed is not among them: there is no time left."""


class RetrySettings(msgspec.Struct, frozen=True):
    """`attempts` counts the first one. `base` and `cap` bound the wait in seconds. `ratio` is the share of calls that retries may add."""

    attempts: int = 3
    base: float = 0.05
    cap: float = 2.0
    ratio: float = 0.1
    floor: float = 3.0


class Budget:
    """Tokens for retries: each call earns `ratio` of one, each retry costs one. `floor` is what a quiet program starts with, and the most is ten times that."""

    __slots__ = ("_floor", "_most", "_ratio", "tokens")

    def __init__(self, ratio: float, floor: float) -> None:
        self._ratio = ratio
        self._floor = floor
        self._most = max(floor * 10, 1.0)
        self.tokens = floor

    def earn(self) -> None:
        """A call was made."""
        tokens = self.tokens + self._ratio
        self.tokens = tokens if tokens < self._most else self._most

    @property
    def left(self) -> float:
        """The share of the budget that is there, 0 to 1."""
        return self.tokens / self._most

    def spend(self) -> bool:
        """Take a retry's token; False where there is none."""
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


class Retry:
    """Calls again after an error that may pass: reads, and writes that carry an operation id, which are written once however often they are sent.

    Where `repeats` is false the backend does not know operations again: there a write whose outcome is not known is not sent a second time.
    """

    def __init__(
        self,
        inner: Backend,
        settings: RetrySettings,
        budget: Budget,
        draw: random.Random | None = None,
        *,
        repeats: bool = True,
    ) -> None:
        self._inner = inner.handle
        self._settings = settings
        self._budget = budget
        self._repeats = repeats
        self.attempts = settings.attempts
        self.retries = 0
        self._draw = draw or random.Random()  # noqa: S311 - spreads retries, keeps no secret

    async def handle(self, request: Request) -> Response:
        """The inner answer, of whichever attempt brought it."""
        self._budget.earn()
        attempt, unknown = 1, False
        while True:
            try:
                return await self._inner(request)
            except InterlockError as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                wait = self._wait(request, error, attempt)
                if wait is None:
                    if unknown and not isinstance(error, OutcomeUnknown):
                        # What the last attempt met, be it a refusal, says nothing of the one before, which may yet be carried out.
                        raise OutcomeUnknown(request.operation_id) from error
                    raise
            attempt += 1
            self.retries += 1
            await asyncio.sleep(wait)

    def _wait(self, request: Request, error: InterlockError, attempt: int) -> float | None:
        """Seconds until the next attempt, None where there is to be none."""
        settings = self._settings
        if not isinstance(error, _PASSING) or attempt >= settings.attempts:
            return None
        if not (request.verb in READS or request.operation_id):
            return None
        if not self._repeats and isinstance(error, OutcomeUnknown):
            return None
        wait = self._draw.uniform(0, min(settings.cap, settings.base * 2 ** (attempt - 1)))
        if isinstance(error, (Unavailable, RateLimited)) and error.retry_after:
            wait += error.retry_after
        if request.deadline is not None and asyncio.get_running_loop().time() + wait >= request.deadline:
            return None
        return wait if self._budget.spend() else None
