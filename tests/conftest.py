"""What all tests share: the event loop, what a missing server means, one PostgreSQL for all workers, and how little memory they keep."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from tests.summary import Summary

from interlock.testing.servers import PostgresServer, ServerMissing

SHARED = pytest.StashKey[PostgresServer]()
"""The server that the process which starts the workers keeps for them."""


class ServersOfWorkers:
    """Starts what the workers share before the first of them, and stops it after the last."""

    def pytest_configure_node(self, node: Any) -> None:
        with suppress(ServerMissing):  # the tests that need it say so
            stash = node.config.stash
            if SHARED not in stash:
                stash[SHARED] = PostgresServer()
                node.config.add_cleanup(stash[SHARED].close)
            node.workerinput["postgres"] = stash[SHARED].address


def pytest_configure(config: pytest.Config) -> None:
    # One arena for all threads, in the workers to come: hundreds of short-lived ones would each keep some of what was once theirs.
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")
    # A run that was started in the background has SIGINT ignored, and what it starts would have so too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(Summary())
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(ServersOfWorkers())


def pytest_collection_finish() -> None:
    """The tests themselves stay to the end: no collection of garbage need look through them."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Give back what the tests of a file have let go of."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        _give_back()


def _give_back() -> None:
    with suppress(OSError, AttributeError):  # glibc's alone
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def missing() -> Callable[[str], None]:
    """Call it where a server or tool is not there: skips at home, fails where CI is set."""

    def miss(what: str) -> None:
        if os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and CI must run everything", pytrace=False)
        pytest.skip(f"{what} is missing; `make servers` installs it")

    return miss


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, missing: Callable[[str], None]) -> Iterator[PostgresServer]:
    """One PostgreSQL for all workers: each test makes databases of its own, and none stops it."""
    if address := getattr(request.config, "workerinput", {}).get("postgres"):
        yield PostgresServer.attach(address)
        return
    try:
        server = PostgresServer()
    except ServerMissing as error:
        missing(str(error))
        raise
    with server:
        yield server
