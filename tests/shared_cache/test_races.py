"""Nothing stale and nothing of another tenant, whatever goes wrong between processes and their server; and the schedules see what they should."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.layers.mutants import Mutant
from tests.shared_cache.mutants import MUTANTS, TROUBLE
from tests.shared_cache.world import KINDS, run

SCHEDULES = int(os.environ.get("SHARED_SCHEDULES", "200"))
TRIES = 1500
"""Schedules within which a mutant must be caught."""

MODULES = {
    "membership": "interlock.layers.shared.membership",
    "cache": "interlock.layers.shared.cache",
    "simulated_store": "interlock.testing.simulated_store",
}


def modules() -> dict[str, Any]:
    return {name: importlib.import_module(path) for name, path in MODULES.items()}


def test_no_schedule_goes_wrong() -> None:
    m = modules()
    seen: Counter[str] = Counter()
    for seed in range(SCHEDULES):
        try:
            seen += run(seed, m)
        except BaseException as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
    assert seen["kept"] > SCHEDULES * 20, "too little was kept to say anything"
    assert seen["written"] > SCHEDULES * 3
    assert seen["healed"] == SCHEDULES, "some process did not come back"
    for trouble in ("cut", "down", "hang", "restart", "evict", "crash", "cut and crash", "clock", "all"):
        assert seen[trouble] > SCHEDULES // 20, f"there was too little of {trouble!r}"


def test_a_seed_is_one_run() -> None:
    m = modules()
    assert [run(seed, m) for seed in range(5)] == [run(seed, m) for seed in range(5)]


def mutated(mutant: Mutant) -> dict[str, Any]:
    """The modules, one of them with the line left out."""
    found = modules()
    original = found[mutant.module]
    source = Path(original.__file__).read_text("utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.name}: the line stands {source.count(mutant.old)} times"
    changed = types.ModuleType(original.__name__)
    changed.__file__ = original.__file__
    exec(compile(source.replace(mutant.old, mutant.new), mutant.name, "exec"), changed.__dict__)  # noqa: S102 - our own source
    found[mutant.module] = changed
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_line_left_out_is_caught(mutant: Mutant) -> None:
    # A mutant leaves tasks behind when its schedule is broken off; what their ends print is of no interest.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        m = mutated(mutant)
        kinds = TROUBLE.get(mutant.name, KINDS)
        assert any(_wrong(m, seed, kinds) for seed in range(TRIES)), f"not caught in {TRIES} schedules"
    finally:
        gc.collect()
        sys.unraisablehook = hook


def _wrong(m: dict[str, Any], seed: int, kinds: tuple[str, ...]) -> bool:
    try:
        run(seed, m, kinds)
    except Exception:  # noqa: BLE001 - a mutant may fail in any way
        return True
    return False
