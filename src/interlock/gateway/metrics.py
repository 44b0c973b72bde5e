"""Counts of calls by route template. No label holds a tenant, a user or an id."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from interlock.observability.durations import Durations

__all__ = ["METHODS", "Meter"]

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Meter:
    """Counts calls and how long they took until their answer began, into the application's histogram."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._seen: dict[tuple[str, str, int], Callable[[float], None]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One call was answered."""
        observe = self._seen.get((method, route, status))
        if observe is None:
            observe = self._of(method, route, status)
        observe(seconds)

    def _of(self, method: str, route: str, status: int) -> Callable[[float], None]:
        if method not in METHODS:
            # Anybody may send any word: it is not remembered.
            return self._durations.of("other", route, str(status)).observe
        series = self._durations.of(method, route, str(status))
        self._seen[method, route, status] = series.observe
        return series.observe
