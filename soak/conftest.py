"""What all soaks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def figures() -> dict[str, int]:
    """Figures of this run, by their names."""
    return {}


@pytest.fixture(scope="session")
def missing() -> Callable[[str], None]:
    """Call it where a tool is not there: a soak without its tools is none."""

    def miss(what: str) -> None:
        pytest.fail(f"{what} is missing; `make servers` installs it", pytrace=False)

    return miss
