"""Which clock the servers go by that are started in an environment of their own: the same as ours."""

from __future__ import annotations

import os
from typing import Final

__all__ = ["clock_environment"]

_CLOCK: Final = (
    "TZ",
    "LD_PRELOAD",
    "FAKETIME",
    "FAKETIME_DONT_FAKE_MONOTONIC",
    "FAKETIME_FORCE_MONOTONIC_FIX",
    "NO_FAKE_STAT",
)


def clock_environment() -> dict[str, str]:
    """The variables of ours that decide what time it is: the zone, and libfaketime's where a test moves the clock."""
    return {name: os.environ[name] for name in _CLOCK if name in os.environ}
