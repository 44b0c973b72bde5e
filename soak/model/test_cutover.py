"""Every interleaving of the protocol is right, and each of its protections is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pytest

from soak.model.cutover import MUTANTS, Model, Step, explore

TWO: Final[tuple[tuple[Step, ...], ...]] = (((0, "set", "x"),), ((0, "set", "y"),))
DELETING: Final[tuple[tuple[Step, ...], ...]] = (((0, "set", "x"), (0, "delete", None)), ((0, "set", "y"),))
COUNTING: Final[tuple[tuple[Step, ...], ...]] = (((0, "increment", None),), ((0, "increment", None),))
TWO_RECORDS: Final[tuple[tuple[Step, ...], ...]] = (((0, "set", "x"), (1, "set", "u")), ((1, "set", "v"),))
THREE: Final[tuple[tuple[Step, ...], ...]] = (*TWO, ((0, "set", "z"),))

RIGHT: Final[Mapping[str, tuple[tuple[tuple[Step, ...], ...], dict[str, Any]]]] = {
    "two writers": (TWO, {}),
    "a delete": (DELETING, {}),
    "increments": (COUNTING, {}),
    "two records": (TWO_RECORDS, {"records": 2, "duplicates": 0}),
    "an abort": (TWO, {"abort": True}),
    "two records, an abort": (TWO_RECORDS, {"records": 2, "duplicates": 0, "abort": True}),
    "there and back": (TWO, {"back": True}),
    "three writers, there and back": (THREE, {"back": True, "duplicates": 0, "timeouts": 0}),
    "the mirror is armed while an early write is on its way": (TWO, {"unjournalled": True}),
    "quarantine": (TWO, {"fence": "quarantine"}),
    "quarantine, there and back": (TWO, {"fence": "quarantine", "back": True}),
    "quarantine, increments": (COUNTING, {"fence": "quarantine"}),
    "operation numbers": (TWO, {"fence": "operation"}),
    "operation numbers, increments": (COUNTING, {"fence": "operation"}),
    "operation numbers, a delete": (DELETING, {"fence": "operation"}),
    "operation numbers, there and back": (TWO, {"fence": "operation", "back": True}),
}
LEAST_STATES: Final = 600_000

WRONG: Final[Mapping[str, tuple[tuple[tuple[Step, ...], ...], dict[str, Any]]]] = {
    "no barrier at arming": (TWO, {"unjournalled": True, "kills": 0, "timeouts": 0, "duplicates": 0}),
    "switch before the copy is done": (TWO, {"records": 2}),
    "no tombstones": (DELETING, {}),
    "commands replayed": (COUNTING, {}),
    "precondition taken anew": (COUNTING, {}),
    "no mirror back": (TWO, {"back": True}),
    "no order per record": (TWO, {"kills": 0}),
}
"""The configuration that shows a mutant, where two writers of one record do not."""


def test_every_interleaving_is_right(figures: dict[str, int]) -> None:
    states, names = 0, set[str]()
    for title, (programs, options) in RIGHT.items():
        found = explore(Model(programs, **options))
        assert found.wrong is None, f"{title}: {found.wrong}, by {' → '.join(found.way)}"
        assert found.ends, f"{title}: nobody came to an end"
        states += found.states
        names |= found.transitions
    figures["states"] = states
    assert states >= LEAST_STATES
    assert names == {
        "admit",
        "send",
        "arrive",
        "time out",
        "lose the request",
        "kill",
        "read back: applied",
        "read back: roll forward",
        "finish",
        "mirror",
        "mirror twice",
        "copy: read",
        "copy: write",
        "switch: close",
        "switch: drained",
        "switch: caught up",
        "switch: turn",
        "switch: abort",
    }


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_protection_left_out_is_seen(mutant: str) -> None:
    programs, options = WRONG.get(mutant, (TWO, {}))
    found = explore(Model(programs, mutant=mutant, **options))
    assert found.wrong is not None, f"{found.states} states, and nothing wrong"
    assert explore(Model(programs, **options)).wrong is None
