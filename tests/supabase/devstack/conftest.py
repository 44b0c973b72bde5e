"""A local stack of a small project of the tests' own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from interlock.devstack import Stack, running
from interlock.errors import Misconfigured
from interlock.identifiers import new_id
from supabase import AsyncClient, acreate_client

PROJECT = Path(__file__).parent / "project"
PASSWORD = "a-password-of-tests"


@pytest.fixture(scope="session")
def programs(missing: Callable[[str], None]) -> None:
    """Skips where the stack's programs are not there."""
    from interlock.devstack.programs import find_programs

    try:
        find_programs()
    except Misconfigured as error:
        missing(str(error))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach: pytest's own are below one that only root enters."""
    path = Path(tempfile.mkdtemp(prefix="interlock-devstack-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def small(programs: None) -> Iterator[Stack]:
    path = Path(tempfile.mkdtemp(prefix="interlock-devstack-"))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running(path, project=PROJECT)) as stack:
        yield stack
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def service(small: Stack) -> AsyncClient:
    """The client of somebody who holds the service key."""
    return await acreate_client(small.url, small.service_key)


async def member(stack: Stack, service: AsyncClient, tenant: str) -> tuple[AsyncClient, str]:
    """A new user of a tenant, logged in: the client, and the e-mail."""
    email = f"{new_id()}@{tenant}.test"
    user = {"email": email, "password": PASSWORD, "email_confirm": True, "app_metadata": {"tenant_id": tenant}}
    await service.auth.admin.create_user(user)  # type: ignore[arg-type]  # a dict is what the client documents
    client = await acreate_client(stack.url, stack.anon_key)
    await client.auth.sign_in_with_password({"email": email, "password": PASSWORD})
    return client, email


@pytest.fixture
async def acme(small: Stack, service: AsyncClient) -> AsyncIterator[AsyncClient]:
    client, _ = await member(small, service, "acme")
    yield client
    await client.remove_all_channels()
    await client.auth.sign_out()


@pytest.fixture
async def globex(small: Stack, service: AsyncClient) -> AsyncIterator[AsyncClient]:
    client, _ = await member(small, service, "globex")
    yield client
    await client.remove_all_channels()
    await client.auth.sign_out()
