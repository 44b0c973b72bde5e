"""A local Supabase of these tests' own, which they stop in parts, and Interlock on it; what all of it says is searched for secrets."""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.patience import PATIENCE

from interlock.app import App
from interlock.contract import Identity
from interlock.devstack import Stack, running
from interlock.errors import InterlockError, Misconfigured
from interlock.identifiers import new_id
from interlock.settings import Settings

_TOKEN = re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{16,}")


class Said:
    """Every error that a test met, for the search for secrets."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, error: BaseException | None) -> None:
        """An error, with all that it came from."""
        while error is not None:
            self.texts += [str(error), repr(error), repr(vars(error)) if hasattr(error, "__dict__") else ""]
            error = error.__cause__ or error.__context__


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def a_stack(missing: Callable[[str], None], **more: Any) -> AsyncIterator[Stack]:
    """A local Supabase in a folder that goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="interlock-failures-"))
    try:
        async with running(folder, **more) as stack:
            yield stack
    except Misconfigured as error:
        if any("not here" in problem for problem in error.problems):
            missing(str(error))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
async def own_stack(missing: Callable[[str], None]) -> AsyncIterator[Stack]:
    async with a_stack(missing) as stack:
        yield stack


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Said]:
    """Afterwards: no key, no secret, no token in errors, logs or output."""
    kept = Said()
    caplog.set_level(logging.DEBUG)
    yield kept
    out, err = capfd.readouterr()
    everything = "\n".join((*kept.texts, caplog.text, out, err))
    assert _TOKEN.search(everything) is None, "a token was told"
    for name, secret in os.environ.items():
        assert not (
            name.startswith("INTERLOCK_SUPABASE_")
            and name.endswith(("KEY", "SECRET"))
            and secret
            and secret in everything
        ), name


def secrets_of(stack: Stack) -> tuple[str, ...]:
    """What must be in no log and no error."""
    password = re.search(r"//[^:]+:([^@]+)@", stack.database_url)
    return (stack.jwt_secret, stack.service_key, stack.anon_key, *((password[1],) if password else ()))


@asynccontextmanager
async def an_app(stack: Stack, home: Path, said: Said, **more: Any) -> AsyncIterator[App]:
    """Interlock with all services on the stack. At its end, its own words and the stack's logs are searched."""
    settings = Settings(
        home=home,
        seed_size=0,
        api_mode="supabase",
        environment="production",
        supabase_url=stack.url,
        supabase_anon_key=stack.anon_key,
        supabase_service_key=stack.service_key,
        supabase_jwt_secret=stack.jwt_secret,
        **more,
    )
    app = await App.open(settings)
    try:
        yield app
    finally:
        said.texts += [repr(app), repr(settings), str(app.router.table), repr(vars(app))]
        await app.aclose()
        logs = "".join(log.read_text(errors="replace") for log in (stack.folder / "logs").glob("*.log"))
        words = "\n".join(said.texts) + logs
        for secret in secrets_of(stack):
            assert secret not in words, "a secret was told"
        assert _TOKEN.search(logs) is None, "a token is in the stack's logs"


@pytest.fixture
async def app(own_stack: Stack, tmp_path: Path, said: Said) -> AsyncIterator[App]:
    async with an_app(own_stack, tmp_path, said) as app:
        yield app


def admin() -> Identity:
    """An admin of a tenant of their own."""
    return Identity(new_id(), new_id(), "admin")


async def resumes(call: Callable[[], Awaitable[Any]], said: Said) -> Any:
    """What the call answers once it does. Until then it may raise our errors, and nothing else."""
    with anyio.fail_after(PATIENCE):
        while True:
            try:
                return await call()
            except InterlockError as error:
                said.note(error)
                await anyio.sleep(0.05)
