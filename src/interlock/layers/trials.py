"""Trials of a sick backend: however many breakers of it are half-open, few calls reach it."""

from __future__ import annotations

__all__ = ["Trials"]


class Trials:
    """At most `most` calls at once, of all breakers of one backend, may try it; after one that failed none may, until the time that it tells.

    A trial that has not come back within its lease is counted out.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._out: dict[object, float] = {}
        self._until = 0.0

    def take(self, trial: object, now: float, lease: float) -> bool:
        """Begin a trial, for at most `lease` seconds; False where there are enough."""
        for old in [old for old, until in self._out.items() if until <= now]:
            del self._out[old]
        if now < self._until or len(self._out) >= self._most:
            return False
        self._out[trial] = now + lease
        return True

    def end(self, trial: object, pause_until: float = 0.0) -> None:
        """A trial has come back; none begins before `pause_until`."""
        self._out.pop(trial, None)
        self._until = max(self._until, pause_until)
