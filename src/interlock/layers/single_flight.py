"""Single-flight: equal reads at one moment are one call of the backend."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import msgspec

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded
from interlock.layers.batching import Gathering, Gathers
from interlock.layers.deadline import READS
from interlock.layers.invalidation import Invalidation
from interlock.layers.keys import Scope, Varies, namespace_of, read_key, scope_of

__all__ = ["SingleFlight"]

_Flights = dict[Scope, dict[Hashable, "_Flight"]]


class SingleFlight:
    """The first of equal reads is called for all of them, in a task of its own (that of a batch, where gets are gathered).

    A caller that leaves, or whose deadline passes, leaves alone; when the last one has left, the call is cancelled. An error goes to those who wait
    now and to nobody after them. A read that comes after a write has been answered joins no call from before it.
    """

    def __init__(self, inner: Backend, *, varies: Varies = "user", told: Invalidation | None = None) -> None:
        self._inner = inner.handle
        self._batch = inner if isinstance(inner, Gathers) else None
        self._whose = namespace_of(varies)
        self._flights: _Flights = {}
        self._flying: set[_Flight] = set()
        self._told = told or Invalidation()
        self._told.add(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.varies = varies
        self.joined = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, or that of an equal read in flight."""
        if request.verb not in READS:
            return await self._write(request)
        try:
            key = read_key(request, self._whose(request.identity))
        except TypeError:
            return await self._inner(request)
        return await self.handle_keyed(request, scope_of(request), key)

    async def handle_keyed(self, request: Request, scope: Scope, key: Hashable) -> Response:
        """The same for a read whose scope and key are known already."""
        loop = self._loop
        if loop is None or not loop.is_running():
            # Which loop runs is asked once: it costs more than all the rest.
            loop = self._loop = asyncio.get_running_loop()
        flights = self._flights.get(scope)
        if flights is None:
            flights = self._flights[scope] = {}
        flight = flights.get(key)
        if flight is None:
            flight = flights[key] = _Flight(self._flights, flights, scope, key)
            self._take_off(flight, request, loop)
        else:
            self.joined += 1
        place: asyncio.Future[Response] = loop.create_future()
        flight.waiting[place] = None
        timer = None if request.deadline is None else loop.call_at(request.deadline, _late, place)
        try:
            return await place
        except BaseException:
            flight.waiting.pop(place, None)
            if not flight.waiting and not flight.landed:
                # The last one has left. Nobody may join what is about to be cancelled.
                flight.land()
                self._stop(flight)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def aclose(self) -> None:
        """Cancel what is in flight, and see it end."""
        flights = [*self._flying, *(flight for flights in self._flights.values() for flight in flights.values())]
        for flight in flights:
            self._stop(flight)
            flight.cancel()
        tasks = [flight.task for flight in flights if flight.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        self._flying.clear()

    def _stop(self, flight: _Flight) -> None:
        """Nobody waits any more."""
        if flight.task is not None:
            flight.task.cancel()
            # A task that had not begun never comes to where it strikes itself off.
            flight.task.add_done_callback(lambda _: self._flying.discard(flight))
        elif flight.gathering is not None:
            flight.gathering.left()

    async def _write(self, request: Request) -> Response:
        try:
            return await self._inner(request)
        finally:
            self._told.written(request, known=True)

    def forget(self, scope: Scope, records: tuple[str, ...] | None) -> None:
        """Who reads from now on joins no call from before."""
        self._flights.pop(scope, None)

    def _take_off(self, flight: _Flight, request: Request, loop: asyncio.AbstractEventLoop) -> None:
        if request.deadline is not None:
            # It is each caller's own affair.
            request = msgspec.structs.replace(request, deadline=None)
        if self._batch is not None:
            flight.gathering = self._batch.gather(request, flight, loop)
        if flight.gathering is None:
            flight.task = loop.create_task(self._fly(flight, request), name="interlock-flight")
            self._flying.add(flight)

    async def _fly(self, flight: _Flight, request: Request) -> None:
        try:
            answer = await self._inner(request)
        except asyncio.CancelledError:
            flight.cancel()
        except BaseException as error:  # noqa: BLE001 - it is handed to those who wait
            flight.set_exception(error)
        else:
            flight.set_result(answer)
        finally:
            self._flying.discard(flight)


class _Flight:
    """One call, and who waits for it. To a batch it is a place like any other."""

    __slots__ = ("_all", "_among", "_key", "_scope", "gathering", "landed", "task", "waiting")

    def __init__(self, all_: _Flights, among: dict[Hashable, _Flight], scope: Scope, key: Hashable) -> None:
        self._all = all_
        self._among = among
        self._scope = scope
        self._key = key
        self.task: asyncio.Task[None] | None = None
        self.gathering: Gathering | None = None
        self.waiting: dict[asyncio.Future[Response], None] = {}
        self.landed = False

    def land(self) -> None:
        """Nobody more joins."""
        self.landed = True
        among = self._among
        if among.get(self._key) is self:
            del among[self._key]
            if not among and self._all.get(self._scope) is among:
                del self._all[self._scope]

    def done(self) -> bool:
        """True where there is an answer, or nobody who wants it."""
        return self.landed

    def set_result(self, answer: Response) -> None:
        """The answer, for all."""
        self.land()
        for place in self.waiting:
            if not place.done():
                place.set_result(answer)

    def set_exception(self, error: BaseException) -> None:
        """The error, for all."""
        self.land()
        for place in self.waiting:
            if not place.done():
                place.set_exception(error)

    def cancel(self) -> None:
        """The call was cancelled, and with it all who wait."""
        self.land()
        for place in self.waiting:
            place.cancel()


def _late(place: asyncio.Future[Response]) -> None:
    if not place.done():
        place.set_exception(DeadlineExceeded())
