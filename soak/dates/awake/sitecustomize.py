"""Lets Python sleep under libfaketime 0.9.10, which breaks the system call that `time.sleep` makes where it leaves the monotonic clock alone."""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    span = float(seconds)
    if span < 0:
        raise ValueError("sleep length must be non-negative")
    select.select((), (), (), span)


time.sleep = _sleep
