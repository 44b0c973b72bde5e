"""Nothing stale, nothing of another tenant, nothing of another epoch, no lost wake-up, nobody harmed by another: over schedules that prove what they did."""

from __future__ import annotations

from collections import Counter

from tests.layers import limits
from tests.layers.races import LEAST, played, run
from tests.layers.stacks import stack_of


def race(seed: int) -> Counter[str]:
    """One schedule on the stack of its seed."""
    return run(seed, stack_of(seed))


def test_no_schedule_goes_wrong() -> None:
    played(race, range(2000), LEAST)


def test_no_schedule_of_the_limits_goes_wrong() -> None:
    played(limits.run, range(1000), limits.LEAST)


def test_a_seed_is_one_run() -> None:
    assert [_trace(seed) for seed in range(20)] == [_trace(seed) for seed in range(20)]


def _trace(seed: int) -> list[str]:
    told = list[str]()
    run(seed, stack_of(seed), told.append)
    return told
