"""Single-flight: equal reads at one moment are one call of the backend."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded
from interlock.layers.deadline import READS
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope, Varies, namespace_of, read_key, scope_of

__all__ = ["SingleFlight"]


class SingleFlight:
    """The first of equal reads is called for all of them, in a task of its own.

    A caller that leaves, or whose deadline passes, leaves alone; when the last one has left, the call is cancelled. An error goes to those who wait
    now and to nobody after them. A read that comes after a write has been answered joins no call from before it.
    """

    def __init__(self, inner: Backend, *, varies: Varies = "user", told: Invalidation | None = None) -> None:
        self._inner = inner.handle
        self._whose = namespace_of(varies)
        self._flights: dict[tuple[Scope, Hashable], _Flight] = {}
        self._by_scope: dict[Scope, set[tuple[Scope, Hashable]]] = {}
        self._told = told or Invalidation()
        self._told.add(self)
        self.joined = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, or that of an equal read in flight."""
        if request.verb not in READS:
            return await self._write(request)
        scope = scope_of(request)
        try:
            key = (scope, read_key(request, self._whose(request.identity)))
        except TypeError:
            return await self._inner(request)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            self._by_scope.setdefault(scope, set()).add(key)
            # Its deadline is each caller's own affair.
            shared = msgspec.structs.replace(request, deadline=None) if request.deadline is not None else request
            flight.task = asyncio.ensure_future(self._fly(key, flight, shared))
        else:
            self.joined += 1
        try:
            return await flight.wait(request.deadline)
        finally:
            if not flight.waiting and flight.task is not None and not flight.task.done():
                # The last one has left. Nobody may join what is about to be cancelled.
                self._land(key, flight)
                flight.task.cancel()

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        tasks = [flight.task for flight in self._flights.values() if flight.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, request: Request) -> Response:
        try:
            return await self._inner(request)
        finally:
            self._told.written(request, known=True)

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        """Who reads from now on joins no call from before."""
        for key in self._by_scope.pop(scope, ()):
            self._flights.pop(key, None)

    async def _fly(self, key: tuple[Scope, Hashable], flight: _Flight, request: Request) -> None:
        try:
            answer = await self._inner(request)
        except asyncio.CancelledError:
            self._land(key, flight)
            flight.cancel()
        except BaseException as error:  # noqa: BLE001 - it is handed to those who wait
            self._land(key, flight)
            flight.fail(error)
        else:
            self._land(key, flight)
            flight.succeed(answer)

    def _land(self, key: tuple[Scope, Hashable], flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
            keys = self._by_scope.get(key[0])
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_scope[key[0]]


class _Flight:
    """One call, and who waits for it."""

    __slots__ = ("task", "waiting")

    def __init__(self) -> None:
        self.task: asyncio.Future[None] | None = None
        self.waiting: dict[asyncio.Future[Response], None] = {}

    async def wait(self, deadline: float | None) -> Response:
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Response] = loop.create_future()
        self.waiting[place] = None
        timer = None if deadline is None else loop.call_at(deadline, _late, place)
        try:
            return await place
        finally:
            if timer is not None:
                timer.cancel()
            self.waiting.pop(place, None)

    def succeed(self, answer: Response) -> None:
        for place in self.waiting:
            if not place.done():
                place.set_result(answer)

    def fail(self, error: BaseException) -> None:
        for place in self.waiting:
            if not place.done():
                place.set_exception(error)

    def cancel(self) -> None:
        for place in self.waiting:
            place.cancel()


def _late(place: asyncio.Future[Response]) -> None:
    if not place.done():
        place.set_exception(DeadlineExceeded())
