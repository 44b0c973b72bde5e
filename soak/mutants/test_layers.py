"""Each protection of the layers, left out, is caught: by a schedule of the races or of the limits, or by its scenario."""

from __future__ import annotations

import pytest
from tests.layers import limits, races
from tests.layers.scenarios import play
from tests.layers.stacks import stack_of

from soak.mutants.catching import Mutant, expect_caught
from soak.mutants.layers import LIMITS, RACES, STAGED

TRIES = 5000
"""Schedules within which a mutant must be caught."""


@pytest.mark.parametrize("mutant", RACES, ids=lambda mutant: mutant.__name__)
def test_the_races_catch(mutant: Mutant, figures: dict[str, int]) -> None:
    expect_caught(mutant, lambda seed: races.run(seed, stack_of(seed)), TRIES, figures)


@pytest.mark.parametrize("mutant", LIMITS, ids=lambda mutant: mutant.__name__)
def test_the_limits_catch(mutant: Mutant, figures: dict[str, int]) -> None:
    expect_caught(mutant, limits.run, TRIES, figures)


@pytest.mark.parametrize("mutant", STAGED, ids=lambda mutant: mutant.__name__)
def test_its_scenario_catches(mutant: Mutant, figures: dict[str, int]) -> None:
    expect_caught(mutant, lambda seed: play(STAGED[mutant], seed), 20, figures)
