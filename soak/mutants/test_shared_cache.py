"""Each protection of the shared cache, left out, is caught by a schedule of its world."""

from __future__ import annotations

import pytest
from tests.shared_cache.world import KINDS, run

from soak.mutants.catching import Mutant, expect_caught
from soak.mutants.shared_cache import MUTANTS, TROUBLE

TRIES = 1500
"""Schedules within which a mutant must be caught."""


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_schedules_catch(mutant: Mutant, figures: dict[str, int]) -> None:
    kinds = TROUBLE.get(mutant, KINDS)
    expect_caught(mutant, lambda seed: run(seed, kinds), TRIES, figures)
