"""What a backend is known not to do: one row a gap, in a table beside the backend's tests, and all of them strict.

A gap that names no test fails the build, and so does one whose test passes: a gap that has closed leaves the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

__all__ = ["Gap", "find_gap", "gaps_that_name_nothing"]

GapWord = Literal["notimpl", "notyet", "never"]


class Gap(msgspec.Struct, frozen=True):
    """One test that this backend is known to fail.

    `test` is the test's name, with its parameters in brackets to mean one case, without them to mean all.
    `word`: `notimpl` could be built here, `notyet` waits for what is behind the backend, `never` cannot be had.
    """

    test: str
    word: GapWord
    reason: str


def find_gap(gaps: Sequence[Gap], name: str) -> Gap | None:
    """The gap that a test of this full name falls into."""
    return next((gap for gap in gaps if gap.test in (name, name.partition("[")[0])), None)


def gaps_that_name_nothing(gaps: Sequence[Gap], names: Iterable[str]) -> tuple[str, ...]:
    """The gaps whose test does not exist, or that have no reason, or that stand twice."""
    known = {part for name in names for part in (name, name.partition("[")[0])}
    listed = [gap.test for gap in gaps]
    return tuple(
        gap.test for gap in gaps if gap.test not in known or not gap.reason.strip() or listed.count(gap.test) > 1
    )
