"""What all tests share: the event loop, and what a missing server means."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def missing() -> Callable[[str], None]:
    """Call it where a server or tool is not there: skips at home, fails where CI is set."""

    def miss(what: str) -> None:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and CI must run everything", pytrace=False)
        pytest.skip(f"{what} is missing; `make setup` installs it")

    return miss
