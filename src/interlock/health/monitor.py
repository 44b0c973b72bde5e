"""The health of every backend and service, looked at in the background while somebody asks for it.

A probe goes to the backend itself, past its layers: what it finds opens no breaker and closes none.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from interlock.abilities import Health
from interlock.contract import Backend
from interlock.entity import Entity
from interlock.errors import InterlockError
from interlock.health.asking import GRACE, Asking, cheap_read, probed, reason_of
from interlock.health.report import (
    DOWN,
    STATUS_OF,
    BackendHealth,
    HealthReport,
    Reason,
    RouteState,
    ServiceHealth,
    Status,
)
from interlock.log import get_logger
from interlock.router import Route

__all__ = ["HealthMonitor", "HealthSettings"]

_log = get_logger("interlock.health")


class HealthSettings(msgspec.Struct, frozen=True):
    """All in seconds, give or take a quarter for `every` and `check_every`.

    A backend is probed `every` so often while somebody has asked within `idle`, and has `deadline` to answer; what was found is told for `fresh` at most.
    A probe that takes longer than `slow` is worth a warning. `check_every` is how often each resource is read once; 0 for never.
    """

    every: float = 2.0
    fresh: float = 5.0
    deadline: float = 2.0
    idle: float = 60.0
    slow: float = 1.0
    check_every: float = 15.0


class _Found(msgspec.Struct, frozen=True):
    """What the last probe said, and when (by the loop's clock and by the wall's)."""

    health: Health
    reason: Reason
    at: float
    checked_at: datetime


class _Checked(msgspec.Struct, frozen=True):
    """What reading a service's resources found, on the route of this epoch. `answered`: all of them have been read at some time."""

    epoch: int
    reason: Reason
    output: str
    answered: bool


class _Since(msgspec.Struct, frozen=True):
    status: Status
    since: datetime
    before: Status | None


class _Watch:
    """One backend, and the one probe of it that may be under way."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend
        self.found: _Found | None = None
        self.probing = Asking()
        self.reading = Asking()
        self.flight: asyncio.Task[None] | None = None
        self.checks: asyncio.Task[None] | None = None
        self.follower: asyncio.Task[None] | None = None
        self.check_at = float("-inf")

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """What runs."""
        return tuple(task for task in (self.follower, self.flight, self.checks) if task is not None and not task.done())


class HealthMonitor:
    """Answers how everything is, from what was found a moment ago. Owned and closed by the composition root.

    `routes` is the table as it stands, `state_of` what a route's layers say. `told` hears of every probe. A service that is not `required` may be down without the
    process being unready.
    """

    def __init__(
        self,
        routes: Callable[[], Mapping[str, Route]],
        entities: Iterable[Entity[Any]],
        settings: HealthSettings | None = None,
        *,
        state_of: Callable[[Route], RouteState] = lambda route: RouteState(),
        told: Callable[[str, Health], None] = lambda backend, health: None,
        required: Callable[[str], bool] = lambda service: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: random.Random | None = None,
    ) -> None:
        self._routes = routes
        self._resources = resources_of(entities)
        self._settings = settings or HealthSettings()
        self._state_of = state_of
        self._told = told
        self._required = required
        self._now = now
        self._draw = draw or random.Random()  # noqa: S311 - spreads the probes, keeps no secret
        self._watches: dict[str, _Watch] = {}
        self._checked: dict[str, _Checked] = {}
        self._since: dict[str, _Since] = {}
        self._gone: set[asyncio.Task[None]] = set()
        self._asked = float("-inf")
        self._closed = False

    async def report(self, within: float | None = None) -> HealthReport:
        """How everything is, from probes not older than `within` seconds (`fresh` where not given). Waits for a probe's deadline at the longest."""
        if not self._closed:
            self._asked = asyncio.get_running_loop().time()
            within = self._settings.fresh if within is None else within
            await asyncio.gather(*(self._known(watch, within) for watch in self._in_use()))
        return self._compiled()

    async def aclose(self) -> None:
        """Stop looking. Closing twice does nothing more."""
        self._closed = True
        watches = tuple(self._watches.values())
        self._watches.clear()
        tasks = [*self._gone, *(task for watch in watches for task in watch.tasks)]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE)
        for watch in watches:
            await watch.probing.aclose()
            await watch.reading.aclose()

    # -- looking --------------------------------------------------------------------------------------------------

    def _in_use(self) -> Sequence[_Watch]:
        """A watch for each backend in the table, followed in the background; those of others are let go."""
        backends = {route.backend_name: route.backend for route in self._routes().values()}
        for name, watch in tuple(self._watches.items()):
            if backends.get(name) is not watch.backend:
                self._let_go(self._watches.pop(name))
        for name, backend in backends.items():
            watch = self._watches.setdefault(name, _Watch(name, backend))
            if watch.follower is None or watch.follower.done():
                watch.follower = asyncio.ensure_future(self._follow(watch))
        return tuple(self._watches.values())

    def _let_go(self, watch: _Watch) -> None:
        for task in watch.tasks:
            task.cancel()
            self._gone.add(task)
            task.add_done_callback(self._gone.discard)

    def _wanted(self, watch: _Watch) -> bool:
        """True while somebody cares, and the backend is in use."""
        asked = asyncio.get_running_loop().time() - self._asked < self._settings.idle
        return asked and any(route.backend is watch.backend for route in self._routes().values())

    async def _follow(self, watch: _Watch) -> None:
        while True:
            await self._probe(watch)
            self._compiled()
            self._check(watch)
            await asyncio.sleep(self._settings.every * self._draw.uniform(0.75, 1.25))
            if not self._wanted(watch):
                return

    async def _known(self, watch: _Watch, within: float) -> None:
        """Returns once the watch has something that is not older."""
        now = asyncio.get_running_loop().time()
        if watch.found is None or now - watch.found.at > within:
            await self._probe(watch)

    async def _probe(self, watch: _Watch) -> None:
        """Join the probe that is under way, or begin one. Whoever leaves leaves the others their probe."""
        if watch.flight is None or watch.flight.done():
            watch.flight = asyncio.ensure_future(self._probed(watch))
        await asyncio.wait({watch.flight})

    async def _probed(self, watch: _Watch) -> None:
        health, reason = await probed(watch.backend, watch.probing, self._settings.deadline)
        if reason == "well" and health.latency > self._settings.slow:
            reason = "slow"
        watch.found = _Found(health, reason, asyncio.get_running_loop().time(), self._now())
        self._told(watch.name, health)

    # -- reading --------------------------------------------------------------------------------------------------

    def _check(self, watch: _Watch) -> None:
        """Begin to read the resources of the services that run there, where it is time to and the backend is there."""
        settings, now = self._settings, asyncio.get_running_loop().time()
        there = watch.found is not None and watch.found.reason not in DOWN
        if not settings.check_every or not there or now < watch.check_at or watch.checks in watch.tasks:
            return
        watch.check_at = now + settings.check_every * self._draw.uniform(0.75, 1.25)
        watch.checks = asyncio.ensure_future(self._checks(watch))

    async def _checks(self, watch: _Watch) -> None:
        for route in tuple(self._routes().values()):
            # A backend that the breaker leaves alone is left alone by reads for their own sake too.
            if route.backend is watch.backend and self._state_of(route).breaker in ("", "closed"):
                await self._check_service(watch, route)
        self._compiled()

    async def _check_service(self, watch: _Watch, route: Route) -> None:
        reason: Reason = "well"
        output = ""
        for resource in self._resources.get(route.service, ()):
            reason, output = await self._read(watch, resource)
            if reason != "well":
                break
        before = self._checked.get(route.service)
        answered = before is not None and before.epoch == route.epoch and before.answered
        if reason == "refused" and not answered:
            # It may let users in and nobody else: what cannot be seen is not called a failure.
            reason, output = "unchecked", f"{output}; so its tables are not looked at"
        self._checked[route.service] = _Checked(route.epoch, reason, output, answered or reason == "well")

    async def _read(self, watch: _Watch, resource: str) -> tuple[Reason, str]:
        """What reading the resource says; a failure that may pass is looked at twice."""
        for last in (False, True):
            try:
                await cheap_read(watch.backend, resource, watch.reading, self._settings.deadline)
            except InterlockError as error:
                reason = reason_of(error)
                if last or reason not in ("failing", "busy"):
                    return reason, f"{resource}: {error.message}"
            else:
                break
        return "well", ""

    # -- telling --------------------------------------------------------------------------------------------------

    def _compiled(self) -> HealthReport:
        """What is known, put together; changes of status are noted and logged."""
        table = self._routes()
        backends = {name: self._backend(watch) for name, watch in self._watches.items()}
        services = tuple(
            self._service(route, backends.get(route.backend_name), self._state_of(route)) for route in table.values()
        )
        for service in set(self._checked) - set(table):
            del self._checked[service]
        keys = {*(f"backend {name}" for name in backends), *table}
        for key in set(self._since) - keys:
            del self._since[key]
        return HealthReport(tuple(backends.values()), services)

    def _backend(self, watch: _Watch) -> BackendHealth:
        found = watch.found
        if found is None:
            return BackendHealth(backend=watch.name, status="warn", reason="unknown", output="not probed yet")
        status, health = STATUS_OF[found.reason], found.health
        since = self._noted(f"backend {watch.name}", status, found.reason, backend=watch.name)
        return BackendHealth(
            backend=watch.name,
            status=status,
            reason=found.reason,
            output=health.detail,
            latency=health.latency,
            version=health.version,
            checked_at=found.checked_at,
            since=since.since,
            before=since.before,
        )

    def _service(self, route: Route, backend: BackendHealth | None, state: RouteState) -> ServiceHealth:
        checked = self._checked.get(route.service)
        if checked is not None and checked.epoch != route.epoch:
            checked = None
        reason, output = _judged(backend, state, checked, self._now())
        status = STATUS_OF[reason]
        since = None
        if reason != "unknown":
            since = self._noted(route.service, status, reason, backend=route.backend_name)
        return ServiceHealth(
            service=route.service,
            backend=route.backend_name,
            epoch=route.epoch,
            status=status,
            reason=reason,
            output=output,
            state=state,
            required=self._required(route.service),
            since=since.since if since else None,
            before=since.before if since else None,
        )

    def _noted(self, key: str, status: Status, reason: Reason, *, backend: str) -> _Since:
        held = self._since.get(key)
        if held is None or held.status != status:
            before = held.status if held else None
            held = self._since[key] = _Since(status, self._now(), before)
            if before is not None or status == "fail":
                # Without the words of the backend, which may quote a caller.
                log = _log.info if status == "pass" else _log.warning
                log("health changed", what=key, backend=backend, status=status, reason=reason)
        return held


_UNKNOWN: Final[tuple[Reason, str]] = ("unknown", "not probed yet")


def _judged(
    backend: BackendHealth | None, state: RouteState, checked: _Checked | None, now: datetime
) -> tuple[Reason, str]:
    """Why a service is as it is: the worst of what is known comes first."""
    if backend is None or backend.reason == "unknown":
        return _UNKNOWN
    away = (now - backend.since).total_seconds() if backend.reason in DOWN and backend.since is not None else 0.0
    if state.stands_in > away and (backend.reason in DOWN or state.breaker == "open"):
        return "stands_in", f"the backend is away ({backend.output}); kept answers serve reads, marked as stale"
    if backend.reason in DOWN:
        return backend.reason, backend.output
    if state.breaker == "open":
        return "left_alone", "calls have failed, and the breaker refuses more for a moment"
    if checked is not None and STATUS_OF[checked.reason] == "fail":
        return checked.reason, checked.output
    if state.breaker == "half_open":
        return "trying", "calls have failed, and the breaker lets a few through to see"
    if state.queued:
        return "busy", f"{state.queued} calls wait for one of {state.places} places"
    if checked is not None and checked.reason != "well":
        return checked.reason, checked.output
    return backend.reason, backend.output if backend.reason != "well" else ""


def resources_of(entities: Iterable[Entity[Any]]) -> Mapping[str, tuple[str, ...]]:
    """The public resources of each service."""
    found: dict[str, tuple[str, ...]] = {}
    for entity in entities:
        if not entity.internal:
            found[entity.service] = (*found.get(entity.service, ()), entity.resource)
    return found
