"""A real server for the tests of the shared cache, and what stands for a process of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.contract import Backend
from interlock.entities import ENTITIES
from interlock.layers import CacheSettings
from interlock.layers.shared import Membership, MembershipSettings, SharedCache
from interlock.layers.shared.redis import RedisStore
from interlock.testing.samples import TEST_ENTITIES
from interlock.testing.servers import RedisServer, ServerMissing

EVERY = (*ENTITIES, *TEST_ENTITIES)
AT_ONCE = MembershipSettings(quarantine=0)
"""Serves from the start: nobody was here before."""

Join = Callable[..., Awaitable[Membership]]


def over(inner: Backend, membership: Membership, **parts: Any) -> SharedCache:
    """A shared cache of all entities over a backend."""
    entities = {entity.resource: entity for entity in EVERY}
    given: dict[str, Any] = {"service": "any", "where": "here", "entities": entities, **parts}
    return SharedCache(inner, given.pop("settings", CacheSettings()), membership, **given)


@pytest.fixture(scope="session")
def shared_server(missing: Callable[[str], None]) -> Iterator[RedisServer]:
    """One server for the tests that leave it as it is."""
    try:
        server = RedisServer()
    except ServerMissing as error:
        missing(str(error))
        raise
    with server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    """A server of one's own, to stop and to fill."""
    with RedisServer() as own:
        yield own


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """Starts memberships, and ends them after the test."""
    async with AsyncExitStack() as stack:

        async def start(
            url: str, settings: MembershipSettings = AT_ONCE, *, name: str = "interlock", **parts: Any
        ) -> Membership:
            # A loaded machine may stop this process for longer than a step is given.
            membership = Membership(RedisStore(url, settings, name=name, patience=2.0), settings, **parts)
            stack.push_async_callback(membership.aclose)
            await membership.start()
            return membership

        yield start


@pytest.fixture
def memory() -> MemoryBackend:
    """A backend of one's own."""
    return MemoryBackend(EVERY)
