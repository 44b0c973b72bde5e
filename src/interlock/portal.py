"""Interlock from code that is not async: scripts, notebooks, the command line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from interlock.app import connect
from interlock.contract import Identity
from interlock.entity import Entity
from interlock.services import EntityService, Services
from interlock.settings import Settings

__all__ = ["Blocking", "blocking"]

T = TypeVar("T")


class Blocking:
    """Runs coroutines of `crm` to their end, one at a time. Typed: `run(run.crm.customers.get(id))` is a `Customer`."""

    def __init__(self, portal: BlockingPortal, crm: Services) -> None:
        self._portal = portal
        self.crm = crm

    def __call__(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of the call, or its error."""

        async def wait() -> T:
            return await call

        return self._portal.call(wait)

    def iterate(self, stream: AsyncIterator[T]) -> Iterator[T]:
        """The items of an async iterator, as they come."""

        async def step() -> tuple[bool, Any]:
            try:
                return True, await anext(stream)
            except StopAsyncIteration:
                return False, None

        while True:
            more, item = self._portal.call(step)
            if not more:
                return
            yield item


@contextmanager
def blocking(
    settings: Settings | None = None,
    *,
    own: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({}),
    identity: Identity | None = None,
) -> Iterator[Blocking]:
    """The ten services without async::

    with interlock.blocking() as run:
        run(run.crm.auth.login("agent@acme.test", "interlock-demo"))
        page = run(run.crm.customers.list(status="active"))
    """
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(connect(settings, own=own, identity=identity)) as crm,
    ):
        yield Blocking(portal, crm)
