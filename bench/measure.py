"""How a figure is taken: interleaved runs, medians, a bar."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

__all__ = ["Result", "emit", "interleaved", "median", "over", "paired", "passes", "seconds_per_call"]


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure. `bar` is such as ">=2.5"; `spread` holds the runs' lowest and highest value; `parts` what it is made of."""

    value: float
    unit: str
    bar: str = ""
    peer: str = ""
    runs: int = 1
    spread: tuple[float, ...] = ()
    parts: Mapping[str, float] = {}
    note: str = ""


def passes(result: Result) -> bool:
    """True where the value is on the right side of its bar, or has none."""
    if result.bar.startswith(">="):
        return result.value >= float(result.bar[2:])
    if result.bar.startswith("<="):
        return result.value <= float(result.bar[2:])
    return True


def rounded(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")


def median(values: Sequence[float], unit: str, **rest: Any) -> Result:
    """The median of some runs, with their lowest and highest."""
    spread = (rounded(min(values)), rounded(max(values)))
    return Result(rounded(statistics.median(values)), unit, runs=len(values), spread=spread, **rest)


def paired(ours: Sequence[float], theirs: Sequence[float], **rest: Any) -> Result:
    """The median of the ratios of runs that stood next to each other."""
    return median([a / b for a, b in zip(ours, theirs, strict=True)], "ratio", **rest)


def over(ours: Sequence[float], base: Sequence[float]) -> list[float]:
    """How much more each run took than the one beside it."""
    return [a - b for a, b in zip(ours, base, strict=True)]


async def interleaved(runs: int, subjects: Mapping[str, Callable[[], Awaitable[float]]]) -> dict[str, list[float]]:
    """Each subject once, in turn, as many times as there are runs, after a round that does not count. The order turns about."""
    taken: dict[str, list[float]] = {name: [] for name in subjects}
    for run in range(-1, runs):
        names = list(subjects) if run % 2 else list(subjects)[::-1]
        for name in names:
            gc.collect()
            value = await subjects[name]()
            if run >= 0:
                taken[name].append(value)
    return taken


async def seconds_per_call(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    """The mean of awaiting one after the other."""
    started = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - started) / calls


def emit(run: Callable[[], Coroutine[Any, Any, Mapping[str, Result]]]) -> None:
    """Run a bench and print its results as JSON, for `bench.run`."""
    results = asyncio.run(run())
    sys.stdout.write(json.dumps(msgspec.to_builtins(results)) + "\n")
