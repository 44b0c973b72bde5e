"""The only chooser: which backend serves which service, as one immutable table with an epoch.

A switch publishes a new table in one assignment. Calls in flight finish on the route where they began; `Route.drained` tells when the
last of them has. Every published route has an epoch of its own, never reused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from interlock.contract import Backend, Request, Response
from interlock.errors import Misconfigured, Unsupported

__all__ = ["Route", "Router"]

A = TypeVar("A")
Handle = Callable[[Request], Awaitable[Response]]
AtHand = Callable[[Request], Response | None]


class Route:
    """One service on one backend, from one epoch on.

    `handle` is the pipeline: the backend with its layers. `at_hand`, where there is one, gives an answer that the pipeline keeps, without waiting.
    `abilities` maps an ability's Protocol to what provides it where that is not the backend itself.
    """

    __slots__ = (
        "_idle",
        "_retired",
        "abilities",
        "at_hand",
        "backend",
        "backend_name",
        "epoch",
        "handle",
        "in_flight",
        "service",
    )

    def __init__(
        self,
        service: str,
        backend_name: str,
        backend: Backend,
        epoch: int,
        *,
        handle: Handle | None = None,
        at_hand: AtHand | None = None,
        abilities: Mapping[type[Any], Any] = MappingProxyType({}),
    ) -> None:
        self.service = service
        self.backend_name = backend_name
        self.backend = backend
        self.epoch = epoch
        self.abilities = abilities
        self.in_flight = 0
        self.handle = self._counted(handle or backend.handle)
        self.at_hand = at_hand
        self._retired = asyncio.Event()
        self._idle = asyncio.Event()

    def __repr__(self) -> str:
        return f"Route({self.service!r} on {self.backend_name!r}, epoch {self.epoch}, {self.in_flight} in flight)"

    def _counted(self, handle: Handle) -> Handle:
        async def counted(request: Request) -> Response:
            self.in_flight += 1
            try:
                return await handle(request)
            finally:
                self.in_flight -= 1
                if not self.in_flight and self._retired.is_set():
                    self._idle.set()

        return counted

    @contextmanager
    def held(self) -> Iterator[None]:
        """Counts as a call in flight: for streams, which outlast one `handle`."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight and self._retired.is_set():
                self._idle.set()

    def ability(self, wanted: type[A]) -> A:
        """What provides an ability on this route. Raises `Unsupported` where nothing does."""
        found = self.abilities.get(wanted)
        if found is not None:
            return found  # type: ignore[no-any-return]  # the mapping's key is the type of its value
        if isinstance(self.backend, wanted):
            return self.backend
        raise Unsupported(self.backend_name, f"{self.service} needs {wanted.__name__}")

    def retire(self) -> None:
        """No new call will choose this route."""
        self._retired.set()
        if not self.in_flight:
            self._idle.set()

    async def retired(self) -> None:
        """Returns once another route has taken over."""
        await self._retired.wait()

    async def drained(self) -> None:
        """Returns once the route is retired and its last call has finished."""
        await self._idle.wait()


class Router:
    """Holds the table. Built, owned and closed by the composition root."""

    def __init__(self) -> None:
        self.epoch = 0
        self.table: Mapping[str, Route] = MappingProxyType({})

    def route(self, service: str) -> Route:
        """The route of a service, now. Raises `Misconfigured` for a service that nothing serves."""
        try:
            return self.table[service]
        except KeyError:
            raise Misconfigured([f"no backend serves {service!r}; known services: {', '.join(self.table)}"]) from None

    def next_epoch(self) -> int:
        """An epoch that no route has had."""
        self.epoch += 1
        return self.epoch

    def publish(self, *routes: Route) -> tuple[Route, ...]:
        """Put the routes into the table, all at once. Answers the routes that they replace, now retired."""
        replaced = tuple(old for route in routes if (old := self.table.get(route.service)) is not None)
        self.table = MappingProxyType({**self.table, **{route.service: route for route in routes}})
        for route in replaced:
            route.retire()
        return replaced
