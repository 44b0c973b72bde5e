"""The races see what they should: each protecting line, left out, is caught by one of the worlds."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.layers import limits
from tests.layers.mutants import MUTANTS, Mutant
from tests.layers.races import run
from tests.layers.scenarios import SCENARIOS
from tests.layers.stacks import invalidation, modules, stack_of

TRIES = 12_000
"""Schedules of each world within which a mutant must be caught."""


def mutated(mutant: Mutant) -> dict[str, Any]:
    """The modules, one of them with the line left out."""
    found = modules()
    original = found[mutant.module]
    source = Path(original.__file__).read_text("utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.name}: the line stands {source.count(mutant.old)} times"
    found[mutant.module] = changed = _made(original, source.replace(mutant.old, mutant.new))
    sys.modules[original.__name__] = changed
    try:
        for name, module in found.items():
            text = Path(module.__file__).read_text("utf-8")
            if f"from {original.__name__} import" in text and name != mutant.module:
                found[name] = _made(module, text)
    finally:
        sys.modules[original.__name__] = original
    return found


def _made(original: Any, source: str) -> Any:
    changed = types.ModuleType(original.__name__)
    changed.__file__ = original.__file__
    exec(compile(source, original.__name__, "exec"), changed.__dict__)  # noqa: S102 - our own source
    return changed


@contextmanager
def quiet() -> Iterator[None]:
    """A mutant leaves tasks behind when its schedule is broken off; what their ends print is of no interest."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logger = logging.getLogger("asyncio")
    level, logger.level = logger.level, logging.CRITICAL
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook, logger.level = hook, level


PLAYED = [mutant for mutant in MUTANTS if mutant.name not in SCENARIOS]
"""The others need a situation that no random schedule comes to, or seldom; `scenarios` has it."""


@pytest.mark.parametrize("mutant", PLAYED, ids=lambda mutant: mutant.name)
def test_a_line_left_out_is_caught(mutant: Mutant) -> None:
    with quiet():
        assert caught(mutant) is not None, f"not caught in {TRIES} schedules"


def caught(mutant: Mutant) -> tuple[int, BaseException] | None:
    """The first schedule that goes wrong, and how."""
    m = mutated(mutant)
    for seed in range(TRIES):
        wrong = _wrong(m, seed)
        if wrong is not None:
            return seed, wrong
    return None


def _wrong(m: Mapping[str, Any], seed: int) -> BaseException | None:
    try:
        run(seed, stack_of(m, seed), invalidation(m))
        limits.run(seed, m)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a mutant may fail in any way
        return error
    return None
