"""Each scenario holds for the layers as they are."""

from __future__ import annotations

import pytest
from tests.layers.scenarios import SCENARIOS, Scenario, play

SEEDS = range(20)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_holds(scenario: Scenario) -> None:
    for seed in SEEDS:
        play(scenario, seed)
