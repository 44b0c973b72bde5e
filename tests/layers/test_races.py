"""Nothing stale, nothing of another tenant, nothing of another epoch, no lost wake-up, nobody harmed by another: over many schedules that prove what they did."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from tests.layers import limits
from tests.layers.races import run
from tests.layers.stacks import stack_of

SCHEDULES = int(os.environ.get("RACE_SCHEDULES", "100000"))
PART = 2500

LEAST = {
    "reads": 5.0,
    "writes": 1.0,
    "Cache hits": 0.5,
    "SingleFlight joined": 0.1,
    "gathered": 0.01,
    "cancelled": 0.5,
    "changes": 0.3,
    "switches": 0.3,
    "failures": 0.5,
    "late": 0.3,
    "refused": 0.2,
    "rejected": 0.05,
    "unknown": 0.1,
    "landed late": 0.2,
    "repeated": 0.1,
    "Retry retries": 0.3,
    "Hedge won": 0.01,
    "stale answers": 0.001,
}
"""How often each must have come up, per schedule."""


def short_of(tally: Counter[str], least: dict[str, float], schedules: int) -> dict[str, int]:
    """What came up too seldom."""
    return {name: tally[name] for name, share in least.items() if tally[name] < int(share * schedules)}


def _race(seed: int) -> Counter[str]:
    return run(seed, stack_of(seed))


def _part(play: Callable[[int], Counter[str]], seeds: range) -> Counter[str]:
    tally = Counter[str]()
    for seed in seeds:
        try:
            tally.update(play(seed))
        except BaseException as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    return tally


@pytest.mark.parametrize(
    ("play", "schedules", "least"),
    [(_race, SCHEDULES, LEAST), (limits.run, SCHEDULES // 5, limits.LEAST)],
    ids=["answers", "limits"],
)
def test_no_schedule_goes_wrong(play: Callable[[int], Counter[str]], schedules: int, least: dict[str, float]) -> None:
    parts = [range(first, min(first + PART, schedules)) for first in range(0, schedules, PART)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        tally = sum(processes.map(_part, [play] * len(parts), parts), Counter[str]())
    assert not short_of(tally, least, schedules), tally


def test_a_seed_is_one_run() -> None:
    assert [_trace(seed) for seed in range(20)] == [_trace(seed) for seed in range(20)]


def _trace(seed: int) -> list[str]:
    told = list[str]()
    run(seed, stack_of(seed), told.append)
    return told
