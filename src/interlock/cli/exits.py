"""What each exit code means, for scripts."""

from __future__ import annotations

from enum import IntEnum

from interlock.errors import (
    Conflict,
    DeadlineExceeded,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    """Something was found wrong (`doctor`), or failed in a way that has no code of its own."""
    USAGE = 2
    """The command line, the input or the configuration is wrong; nothing was done."""
    UNAVAILABLE = 3
    """A backend or the product did not answer, or not in time, or asked to be called later."""
    DENIED = 4
    """Nobody is logged in, or their role may not do this."""
    NOT_FOUND = 5
    """There is no such record."""
    CONFLICT = 6
    """The record is at another version, or another record has the unique value."""
    UNKNOWN_OUTCOME = 7
    """A write was sent and its outcome is not known; run the command again."""
    PARTLY = 8
    """Some rows were refused and the others kept (`import`)."""


_BY_ERROR: tuple[tuple[tuple[type[InterlockError], ...], Exit], ...] = (
    ((Invalid, Misconfigured, Unsupported), Exit.USAGE),
    ((Unavailable, DeadlineExceeded, RateLimited), Exit.UNAVAILABLE),
    ((Unauthenticated, Forbidden), Exit.DENIED),
    ((NotFound,), Exit.NOT_FOUND),
    ((Conflict, Duplicate), Exit.CONFLICT),
    ((OutcomeUnknown,), Exit.UNKNOWN_OUTCOME),
)


def exit_of(error: InterlockError) -> Exit:
    """The exit code that stands for an error."""
    return next((code for kinds, code in _BY_ERROR if isinstance(error, kinds)), Exit.FAILED)
