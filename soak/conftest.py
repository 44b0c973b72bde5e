"""What all soaks share: the figures that they find."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def figures() -> dict[str, int]:
    """Figures of a part, by name."""
    return {}
