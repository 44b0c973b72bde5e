"""How often a caller may call: token buckets, kept for the callers seen last."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from interlock.errors import RateLimited

__all__ = ["Buckets"]

MOST: Final = 20_000


class Buckets:
    """One bucket for each key: `rate` calls a second, and `burst` at once. A rate of 0 lets everything through."""

    def __init__(self, rate: float, burst: float, what: str, clock: Callable[[], float] = monotonic) -> None:
        self.rate = rate
        self._burst = max(burst, 1.0)
        self._what = what
        self._clock = clock
        self._held: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> None:
        """Take one token. Raises `RateLimited` where none is left."""
        if not self.rate:
            return
        now = self._clock()
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= MOST:
                self._forget(now)
            self._held[key] = (self._burst - 1.0, now)
            return
        level = held[0] + (now - held[1]) * self.rate
        if level > self._burst:
            level = self._burst
        if level < 1.0:
            self._held[key] = (level, now)
            raise RateLimited(self._what, round((1.0 - level) / self.rate + 0.001, 3))
        self._held[key] = (level - 1.0, now)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are full again, and if that is not enough, the oldest half."""
        full = [key for key, (level, at) in self._held.items() if level + (now - at) * self.rate >= self._burst]
        for key in full or list(self._held)[: MOST // 2]:
            del self._held[key]
