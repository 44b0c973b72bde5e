"""Each scenario holds for the layers as they are, and shows the mutant that it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from tests.layers.mutants import MUTANTS
from tests.layers.scenarios import SCENARIOS
from tests.layers.stacks import modules
from tests.layers.test_mutants import mutated, quiet

from interlock.testing.simulation import simulate

SEEDS = range(20)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def play(name: str, m: Mapping[str, Any], seed: int) -> None:
    simulate(lambda draw: SCENARIOS[name](m), seed)  # type: ignore[arg-type, return-value]  # every scenario is a coroutine function


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_holds(name: str) -> None:
    for seed in SEEDS:
        play(name, modules(), seed)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_shows_its_mutant(name: str) -> None:
    m = mutated(BY_NAME[name])
    with quiet():
        assert any(_wrong(name, m, seed) for seed in SEEDS)


def _wrong(name: str, m: Mapping[str, Any], seed: int) -> bool:
    try:
        play(name, m, seed)
    except (Exception, asyncio.CancelledError, pytest.fail.Exception):  # noqa: BLE001 - a mutant may fail in any way
        return True
    return False
