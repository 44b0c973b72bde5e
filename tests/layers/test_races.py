"""Nothing stale, nothing of another tenant, nothing of another epoch, no lost wake-up: over many schedules; and the schedules see what they should."""

from __future__ import annotations

import importlib
import os
import random
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.layers.mutants import MUTANTS, Mutant
from tests.layers.races import SETTLE, Stack, run

from interlock.contract import Backend

SCHEDULES = int(os.environ.get("RACE_SCHEDULES", "30000"))
TRIES = 12_000
"""Schedules within which a mutant must be caught."""

NAMES = ("batching", "breaker", "bulkhead", "caching", "deadline", "invalidation", "retry", "single_flight")
Modules = Mapping[str, Any]


def modules() -> dict[str, Any]:
    return {name: importlib.import_module(f"interlock.layers.{name}") for name in NAMES}


def stack_of(m: Modules, seed: int) -> Stack:
    """All layers, tight enough that each of them has something to do; the cache is small in every fourth schedule."""

    draw = random.Random(seed)

    def stack(inner: Backend, told: Any) -> Backend:
        inner = m["breaker"].Breaker(inner, m["breaker"].BreakerSettings(calls=6, failures=0.7, pause=0.05), draw=draw)
        inner = m["retry"].Retry(inner, m["retry"].RetrySettings(cap=0.05), m["retry"].Budget(0.3, 3), draw)
        inner = m["bulkhead"].Bulkhead(inner, 2, 100)
        inner = m["deadline"].Deadline(inner, 0.5)
        inner = m["batching"].Batch(inner)
        inner = m["single_flight"].SingleFlight(inner, varies="tenant", told=told)
        settings = m["caching"].CacheSettings(ttl=60, entries=1 if seed % 4 == 0 else 1000)
        cache: Backend = m["caching"].Cache(inner, settings, varies="tenant", told=told, draw=draw)
        return cache

    return stack


def play(m: Modules, seed: int) -> None:
    run(seed, stack_of(m, seed), lambda: m["invalidation"].Invalidation(SETTLE))


def test_no_schedule_goes_wrong() -> None:
    m = modules()
    for seed in range(SCHEDULES):
        try:
            play(m, seed)
        except BaseException as error:
            raise AssertionError(f"schedule {seed}: {error}") from error


def test_a_seed_is_one_run() -> None:
    m = modules()
    assert [_trace(m, seed) for seed in range(20)] == [_trace(m, seed) for seed in range(20)]


def _trace(m: Modules, seed: int) -> list[str]:
    told: list[str] = []
    run(seed, stack_of(m, seed), lambda: m["invalidation"].Invalidation(SETTLE), told.append)
    return told


@contextmanager
def mutated(mutant: Mutant) -> Iterator[dict[str, Any]]:
    """The modules, one of them with the line left out."""
    found = modules()
    original = found[mutant.module]
    source = Path(original.__file__).read_text("utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.name}: the line stands {source.count(mutant.old)} times"
    changed = types.ModuleType(original.__name__)
    changed.__file__ = original.__file__
    exec(compile(source.replace(mutant.old, mutant.new), mutant.name, "exec"), changed.__dict__)  # noqa: S102 - our own source
    found[mutant.module] = changed
    yield found


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_line_left_out_is_caught(mutant: Mutant, capsys: pytest.CaptureFixture[str]) -> None:
    # A mutant leaves tasks behind when its schedule is broken off; what their ends print is of no interest.
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with mutated(mutant) as m:
            assert any(_wrong(m, seed) for seed in range(TRIES)), f"not caught in {TRIES} schedules"
    finally:
        sys.unraisablehook = hook


def _wrong(m: Modules, seed: int) -> bool:
    try:
        play(m, seed)
    except Exception:  # noqa: BLE001 - a mutant may fail in any way
        return True
    return False
