"""How a mutant is caught: by the first schedule that goes wrong."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

__all__ = ["Mutant", "expect_caught"]

Mutant = Callable[[pytest.MonkeyPatch], None]
"""Leaves one protection out, by a patch."""


def expect_caught(mutant: Mutant, play: Callable[[int], object], tries: int, figures: dict[str, int]) -> None:
    """Play schedules until one goes wrong, and count the mutant. Fails where none does."""
    figures["mutants"] = figures.get("mutants", 0) + 1
    caught = figures.setdefault("caught", 0)
    with quiet(), pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        found = next(((seed, wrong) for seed in range(tries) if (wrong := _wrong(play, seed))), None)
    assert found is not None, f"not caught in {tries} schedules"
    figures["caught"] = caught + 1
    print(f"{mutant.__name__}: caught by schedule {found[0]}: {found[1]}")


def _wrong(play: Callable[[int], object], seed: int) -> str:
    """What goes wrong, "" for nothing. In words: the error itself would hold on to the tasks of the schedule."""
    try:
        play(seed)
    except (TypeError, AttributeError, NameError):
        raise  # the patch does not fit any more: that catches nothing
    except pytest.fail.Exception as error:
        if "pytest-timeout" in str(error):
            raise
        return repr(error)  # something was not raised
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a mutant may fail in any way
        return repr(error)
    return ""


@contextmanager
def quiet() -> Iterator[None]:
    """A mutant leaves tasks behind when its schedule is broken off; what their ends print is of no interest."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    logger = logging.getLogger("asyncio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        logger.setLevel(level)
