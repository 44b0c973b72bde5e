"""Nothing stale and nothing of another tenant, whatever goes wrong between processes and their server."""

from __future__ import annotations

import pytest
from tests.layers.races import played
from tests.shared_cache.world import LEAST, run


def test_no_schedule_goes_wrong() -> None:
    played(run, range(60), LEAST)


@pytest.mark.parametrize(
    "seed",
    [650452001136, 270944000305],
    ids=["told of a change while a write outlasts its mark", "a mark expires while a call from before is in flight"],
)
def test_a_schedule_that_went_wrong_once_is_right(seed: int) -> None:
    run(seed)


def test_a_seed_is_one_run() -> None:
    assert [run(seed) for seed in range(3)] == [run(seed) for seed in range(3)]
