"""Histograms that cost little to count into: numbers of one event loop, without locks.

They are turned into Prometheus' own kinds when somebody asks (`interlock.observability.exposition`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["BOUNDS", "Durations", "Series", "quantile"]

BOUNDS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets, in seconds. A call of the mock takes microseconds, a late one of a real API seconds."""


class Series:
    """What was counted under one set of labels: how many fell into each bucket, and their seconds together."""

    __slots__ = ("_sum", "buckets", "observe")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        buckets = self.buckets = [0] * (len(bounds) + 1)
        total = self._sum = [0.0]

        def observe(seconds: float) -> None:
            buckets[bisect_left(bounds, seconds)] += 1
            total[0] += seconds

        self.observe: Callable[[float], None] = observe

    @property
    def count(self) -> int:
        """How many."""
        return sum(self.buckets)

    @property
    def seconds(self) -> float:
        """Of all together."""
        return self._sum[0]


class Durations:
    """A histogram of seconds, by labels."""

    def __init__(self, name: str, about: str, labels: tuple[str, ...], bounds: tuple[float, ...] = BOUNDS) -> None:
        self.name = name
        self.about = about
        self.labels = labels
        self.bounds = bounds
        self._series: dict[tuple[str, ...], Series] = {}

    def of(self, *values: str) -> Series:
        """The series of these labels' values, begun where there is none."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self.bounds)
        return series

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], Series]]:
        """Those that something was counted in, in the order of their labels."""
        return iter(sorted((values, series) for values, series in self._series.items() if any(series.buckets)))


def quantile(share: float, bounds: tuple[float, ...], buckets: list[int]) -> float | None:
    """The seconds within which the share of the calls ended, estimated within its bucket; None of no calls, the last bound beyond it."""
    rank = share * sum(buckets)
    if not rank:
        return None
    below = 0
    for place, held in enumerate(buckets[: len(bounds)]):
        if held and below + held >= rank:
            lower = bounds[place - 1] if place else 0.0
            return lower + (bounds[place] - lower) * (rank - below) / held
        below += held
    return bounds[-1]
