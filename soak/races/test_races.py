"""The races by the hundred thousand, in new schedules each time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest
from tests.layers import limits
from tests.layers.races import LEAST, played
from tests.layers.test_races import race
from tests.shared_cache import world


class Kind(NamedTuple):
    """Schedules that are played in parts."""

    name: str
    play: Callable[[int], Counter[str]]
    least: Mapping[str, float]
    schedules: int
    part: int


KINDS = (
    Kind("layers", race, LEAST, 100_000, 2500),
    Kind("limits", limits.run, limits.LEAST, 20_000, 2500),
    Kind("shared cache", world.run, world.LEAST, 2400, 100),
)


@pytest.mark.parametrize(
    ("kind", "first"),
    [pytest.param(kind, n, id=f"{kind.name} {n}") for kind in KINDS for n in range(0, kind.schedules, kind.part)],
)
def test_no_schedule_goes_wrong(kind: Kind, first: int, seed: int, figures: dict[str, int]) -> None:
    begin = seed * 1_000_000 + first
    played(kind.play, range(begin, begin + kind.part), kind.least)
    figures[f"schedules of the {kind.name}"] = kind.part
