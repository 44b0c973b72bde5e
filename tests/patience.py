"""How long a test waits for what must come: no test depends on when it comes.

`INTERLOCK_TEST_PATIENCE` scales it for a slow machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

__all__ = ["PATIENCE", "until"]

PATIENCE: Final = 120.0 * float(os.environ.get("INTERLOCK_TEST_PATIENCE", "1"))
"""Seconds after which a test gives up."""


def until(true: Callable[[], bool], what: str) -> None:
    """Return once something that must come has come. Raises AssertionError, with `what` is missing, after `PATIENCE`."""
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, what
        time.sleep(0.02)
