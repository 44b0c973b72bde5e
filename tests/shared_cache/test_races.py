"""Nothing stale and nothing of another tenant, whatever goes wrong between processes and their server."""

from __future__ import annotations

import os
from collections import Counter

from tests.shared_cache.world import run

SCHEDULES = int(os.environ.get("SHARED_SCHEDULES", "200"))


def test_no_schedule_goes_wrong() -> None:
    seen: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        try:
            seen += run(seed)
        except BaseException as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    assert seen["kept"] > SCHEDULES * 20, "too little was kept to say anything"
    assert seen["written"] > SCHEDULES * 3
    assert seen["healed"] == SCHEDULES, "some process did not come back"
    for trouble in ("cut", "down", "hang", "restart", "evict", "crash", "cut and crash", "clock", "all"):
        assert seen[trouble] > SCHEDULES // 20, f"there was too little of {trouble!r}"


def test_a_seed_is_one_run() -> None:
    assert [run(seed) for seed in range(5)] == [run(seed) for seed in range(5)]
