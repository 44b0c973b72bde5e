"""The seed and the figures of a part, and what it shares with the tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.conftest import anyio_backend, missing, postgres, pytest_configure

__all__ = ["anyio_backend", "missing", "postgres", "pytest_configure"]


@pytest.fixture(scope="session")
def seed() -> int:
    """The number that everything random of this run follows from."""
    return int(os.environ.get("SOAK_SEED", "1"))


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[dict[str, int]]:
    """What a test counted, by name. `python -m soak` adds it up over the tests of a part, and writes it to the results."""
    counted: dict[str, int] = {}
    yield counted
    request.node.user_properties.extend((name, str(value)) for name, value in counted.items())
