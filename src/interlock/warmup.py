"""Warming a backend and a route up before it serves: connections are there, its tables are, and the cache holds what was asked last.

So a switch is not followed by a stampede of cold reads, and a backend that cannot serve is found out while the old one still does.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.contract import Backend, Condition, Filter, Request, Response
from interlock.entity import Entity
from interlock.errors import InterlockError, RateLimited, Unavailable
from interlock.health import Asking, Reason, cheap_read, probed, reason_of, resources_of
from interlock.router import Route

__all__ = ["Recent", "WarmUp", "WarmUpSettings", "WarmingUp"]


Handle = Callable[[Request], Awaitable[Response]]
Followed = Callable[[str, str], Coroutine[Any, Any, None]]
"""Given a tenant and a resource, returns once no change of it is missed. Raises where it will not be watched."""
AtHand = Callable[[Request], Response | None]

READS: Final = frozenset({"find", "get", "aggregate"})
LONGEST: Final = 100
"""Ids of a get, and values of a filter, that are remembered at most."""

_FATAL: Final[frozenset[Reason]] = frozenset({"failing", "misconfigured"})
"""What no backend may answer to a plain read that is to serve. One that refuses the system, or lacks a resource, may."""

_PASSING: Final[frozenset[Reason]] = frozenset({"failing", "busy"})


class WarmUpSettings(msgspec.Struct, frozen=True):
    """`patience` (seconds) is what the backend has to answer a probe, and then the first reads; `fill` (seconds) what refilling the caches may take altogether.

    At least `connections` reads of a backend are made at once, so that as many connections are there. `most` is how many reads are made again for each route,
    `at_once` of them at a time; after `failures` in a row it is given up. `attempts` is how often a first read is tried.
    """

    patience: float = 5.0
    fill: float = 2.0
    connections: int = 4
    attempts: int = 3
    pause: float = 0.05
    most: int = 200
    at_once: int = 8
    failures: int = 5


class WarmUp(msgspec.Struct, frozen=True):
    """What warming up a route took: reads that were answered, those that were not, and seconds."""

    reads: int = 0
    failed: int = 0
    seconds: float = 0.0

    def __add__(self, other: WarmUp) -> WarmUp:
        return WarmUp(self.reads + other.reads, self.failed + other.failed, self.seconds + other.seconds)


class Recent:
    """The reads of a service that were asked last, whoever served it."""

    __slots__ = ("_kept",)

    def __init__(self, most: int = 1024) -> None:
        self._kept: deque[Request] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._kept)

    def around(self, handle: Handle) -> Handle:
        """The handle, with its reads remembered. Not a coroutine function: that would cost each call another one."""
        keep = self._kept.append

        def remembered(request: Request) -> Awaitable[Response]:
            if request.verb in READS and len(request.ids) <= LONGEST:
                query = request.query
                if query is None or query.where is None or _short(query.where):
                    keep(request)
            return handle(request)

        return remembered

    def around_at_hand(self, at_hand: AtHand) -> AtHand:
        """The same for what answers without waiting: what it has not is remembered where it is asked for next."""
        keep = self._kept.append

        def remembered(request: Request) -> Response | None:
            answer = at_hand(request)
            # A get of one record: there is nothing long about it.
            if answer is not None:
                keep(request)
            return answer

        return remembered

    def most_asked(self) -> list[Request]:
        """Each different read once, the most frequent first."""
        counts: Counter[Any] = Counter()
        reads: dict[Any, Request] = {}
        for request in tuple(self._kept):
            key = (request.identity, request.verb, request.resource, request.ids, request.query, request.aggregate)
            try:
                counts[key] += 1
            except TypeError:
                continue  # no cache keeps it either
            reads[key] = request
        return [reads[key] for key, _ in counts.most_common()]


def _short(where: Filter) -> bool:
    """Whether it is worth its memory. Written out: every read with a filter pays for it."""
    if type(where) is Condition:
        return type(where.value) is not tuple or len(where.value) <= LONGEST
    items = where.items  # type: ignore[union-attr]  # of the two kinds it is the other
    if len(items) > LONGEST // 10:
        return False
    for item in items:
        if type(item) is not Condition:
            if not _short(item):
                return False
        elif type(item.value) is tuple and len(item.value) > LONGEST:
            return False
    return True


class WarmingUp:
    """What one application remembers for its warm-ups. The composition root holds it, and calls `connect`, then `fill`, before it publishes routes."""

    def __init__(self, entities: Iterable[Entity[Any]], settings: WarmUpSettings | None = None) -> None:
        self._settings = settings or WarmUpSettings()
        self._resources = resources_of(entities)
        self._recent: dict[str, Recent] = {}

    def remembered(self, service: str, handle: Handle) -> Handle:
        """The handle of a route of the service that has a cache, with its reads remembered. The service's next route is filled with them."""
        if not self._settings.fill:
            return handle
        return self._recent.setdefault(service, Recent()).around(handle)

    def remembered_at_hand(self, service: str, at_hand: AtHand) -> AtHand:
        """The same for what the cache has at hand."""
        if not self._settings.fill:
            return at_hand
        return self._recent.setdefault(service, Recent()).around_at_hand(at_hand)

    async def connect(self, backends: Mapping[str, tuple[str, Backend]]) -> Mapping[str, WarmUp]:
        """Probe each service's backend (given by name), open its connections, and see that its tables are there.

        Raises `Unavailable` for one that cannot serve: silent, failing, or without the service's tables.
        """
        named = dict(backends.values())
        _raise_first(await asyncio.gather(*(self._probe(name, named[name]) for name in named), return_exceptions=True))
        shares = Counter(name for service, (name, _) in backends.items() for _ in self._resources.get(service, ()))
        each = {name: -(-self._settings.connections // max(share, 1)) for name, share in shares.items()}
        found = await asyncio.gather(
            *(self._open(service, name, backend, each.get(name, 0)) for service, (name, backend) in backends.items()),
            return_exceptions=True,
        )
        _raise_first(found)
        return MappingProxyType(
            {service: one for service, one in zip(backends, found, strict=True) if isinstance(one, WarmUp)}
        )

    async def _probe(self, name: str, backend: Backend) -> None:
        health, _ = await probed(backend, Asking(), self._settings.patience)
        if not health.healthy:
            raise Unavailable(f"the backend {name!r} does not answer ({health.detail})")

    async def _open(self, service: str, name: str, backend: Backend, each: int) -> WarmUp:
        resources = self._resources.get(service, ())
        if not resources:
            return WarmUp()
        loop = asyncio.get_running_loop()
        began = loop.time()
        wanted = [resource for resource in resources for _ in range(each)]
        found = await asyncio.gather(*(self._read(backend, resource) for resource in wanted))
        for resource in resources:
            errors = [error for name_, error in zip(wanted, found, strict=True) if name_ == resource]
            if all(error is not None and reason_of(error) in _FATAL for error in errors) and errors[0] is not None:
                raise Unavailable(f"the backend {name!r} does not serve {resource} ({errors[0].message})")
        failed = sum(error is not None for error in found)
        return WarmUp(len(found) - failed, failed, loop.time() - began)

    async def _read(self, backend: Backend, resource: str) -> InterlockError | None:
        """What a first read fails with, at last."""
        settings, loop = self._settings, asyncio.get_running_loop()
        until = loop.time() + settings.patience
        for attempt in range(1, settings.attempts + 1):
            try:
                await cheap_read(backend, resource, Asking(), settings.patience)
            except InterlockError as error:
                if attempt == settings.attempts or reason_of(error) not in _PASSING or loop.time() >= until:
                    return error
                await asyncio.sleep(settings.pause * attempt)
            else:
                break
        return None

    async def fill(
        self, routes: Sequence[Route], followed: Callable[[Route], Followed | None] = lambda route: None
    ) -> Mapping[str, WarmUp]:
        """Ask the routes, through their layers, what was asked of their services last. Errors are counted; none is raised.

        `followed` is what waits until a tenant's resource is watched for changes on the route, where it is: what is kept before that is dropped again.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        fillings = [_Filling(route, self._again(route, began), self._settings.failures) for route in routes]
        scopes = {
            (filling.route.service, request.identity.tenant_id, request.resource): follow
            for filling, request in _in_turn(fillings)
            if (follow := followed(filling.route)) is not None
        }
        await self._all((follow(*scope) for (_, *scope), follow in scopes.items()), self._settings.fill / 2)
        left = began + self._settings.fill - loop.time()
        await self._all((filling.ask(request) for filling, request in _in_turn(fillings)), left)
        seconds = loop.time() - began
        return MappingProxyType(
            {
                filling.route.service: WarmUp(filling.reads, filling.failed, seconds if filling.requests else 0.0)
                for filling in fillings
            }
        )

    async def _all(self, calls: Iterator[Coroutine[Any, Any, None]], seconds: float) -> None:
        """Make the calls, few at a time, as many as there is time for. Their errors are nobody's."""

        async def work() -> None:
            for call in calls:
                with suppress(Exception):
                    await call

        tasks = [asyncio.ensure_future(work()) for _ in range(self._settings.at_once)]
        try:
            await asyncio.wait(tasks, timeout=seconds)
        finally:
            for task in tasks:
                task.cancel()

    def _again(self, route: Route, now: float) -> list[Request]:
        recent = self._recent.get(route.service)
        if recent is None or not self._settings.fill:
            return []
        until = now + self._settings.fill
        return [
            msgspec.structs.replace(request, epoch=route.epoch, deadline=until)
            for request in islice(recent.most_asked(), self._settings.most)
        ]


def _raise_first(found: Sequence[object]) -> None:
    for one in found:
        if isinstance(one, BaseException):
            raise one


class _Filling:
    """One route that is filled."""

    def __init__(self, route: Route, requests: list[Request], most: int) -> None:
        self.route = route
        self.requests = requests
        self.reads = 0
        self.failed = 0
        self._in_a_row = 0
        self._most = most

    async def ask(self, request: Request) -> None:
        if self._in_a_row >= self._most:
            return  # it is sick, or busy, and the callers' own calls need it more
        try:
            answer = await self.route.handle(request)
        except Exception as error:  # noqa: BLE001 - a warm-up stops for no error of a backend
            self.failed += 1
            self._in_a_row = self._most if isinstance(error, RateLimited) else self._in_a_row + 1
        else:
            self.reads += not answer.cached
            self._in_a_row = 0


def _in_turn(fillings: Sequence[_Filling]) -> Iterator[tuple[_Filling, Request]]:
    """Of each route one read after the other, the most asked ones first."""
    for row in zip_longest(*(filling.requests for filling in fillings)):
        for filling, request in zip(fillings, row, strict=True):
            if request is not None:
                yield filling, request
