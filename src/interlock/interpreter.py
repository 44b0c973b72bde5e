"""The end of the interpreter, where libraries in Rust have threads."""

from __future__ import annotations

import atexit
import time
from typing import Final

__all__ = ["let_threads_rest_at_exit"]

_QUIET_SECONDS: Final = 0.1


def let_threads_rest_at_exit() -> None:
    """Have the interpreter wait a moment before it is taken down, once for the process, however often it is asked for.

    The threads of granian and pyreqwest let go of what they held a moment after their last call, and one that takes the interpreter's lock back while it is
    taken down aborts the process (https://github.com/PyO3/pyo3/issues/6084). The command line ends without being taken down and needs no rest.
    """
    atexit.unregister(_rest)
    atexit.register(_rest)


def _rest() -> None:
    time.sleep(_QUIET_SECONDS)
