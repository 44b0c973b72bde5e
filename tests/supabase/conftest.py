"""The Supabase that these tests run against: a local one of their own, or the project that the environment names."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from interlock.backends.supabase.schema import statements
from interlock.devstack import Stack, running
from interlock.errors import Misconfigured
from interlock.services.policy import able
from interlock.testing.samples import TEST_ENTITIES


@dataclass(frozen=True)
class Project:
    """A project that is not ours to stop, reset or read the mails of. It must have the migrations and the tables of the test entities."""

    url: str
    anon_key: str
    service_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)


def sample_tables() -> str:
    """The SQL of the tables that the conformance suite works on."""
    return statements(TEST_ENTITIES, roles=able)


@pytest.fixture(scope="session")
def stack(missing: Callable[[str], None]) -> Iterator[Any]:
    """The project under test: `url`, `anon_key`, `service_key`, `jwt_secret`; locally all that `interlock.devstack.Stack` has."""
    if url := os.environ.get("INTERLOCK_SUPABASE_URL"):
        given = {
            name: os.environ.get(f"INTERLOCK_SUPABASE_{name.upper()}", "")
            for name in ("anon_key", "service_key", "jwt_secret")
        }
        yield Project(url, **given)
        return
    folder = Path(tempfile.mkdtemp(prefix="interlock-supabase-"))
    try:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(running(folder, extra_sql=[sample_tables()])) as local,
        ):
            yield local
    except Misconfigured as error:
        if any("are not here" in problem or "is not here" in problem for problem in error.problems):
            missing(str(error))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def another_stack() -> Iterator[Stack]:
    """A second project, with a database of its own."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-supabase-"))
    try:
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(running(folder, extra_sql=[sample_tables()])) as local,
        ):
            yield local
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def local_stack(stack: Any) -> Stack:
    """The local stack, for tests that stop its parts, read its mails or look into its database; skipped on a project of somebody's."""
    if not isinstance(stack, Stack):
        pytest.skip("a hosted project is not stopped, reset or looked into by tests")
    return stack
