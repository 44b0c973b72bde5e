"""Which pairs of layers a module is run with: `test_over_<backend>.py` has those of its backend."""

from __future__ import annotations

import pytest

from soak.layers.pairs import drawn


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        backend = metafunc.module.__name__.rpartition("_")[2]
        metafunc.parametrize("pair", drawn(backend), ids="-in-".join, indirect=True, scope="module")


@pytest.fixture(autouse=True)
def counted(request: pytest.FixtureRequest, figures: dict[str, int]) -> None:
    """How often a suite was run with a pair of layers, with a layer alone, or with all and Redis."""
    figures[request.cls.__name__.removeprefix("Test").lower()] = 1
