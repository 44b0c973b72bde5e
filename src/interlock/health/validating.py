"""Is everything set up right? Each service is tried on its backend, and what is wrong comes with its mend."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from secrets import token_urlsafe
from types import MappingProxyType
from typing import Any, Final

import msgspec

from interlock.abilities import Authenticates, Health, StoresFiles
from interlock.contract import Backend
from interlock.entity import Entity
from interlock.errors import InterlockError, Misconfigured, RateLimited, Unauthenticated, Unsupported
from interlock.health.asking import GRACE, Asking, cheap_read, probed, reason_of
from interlock.health.monitor import resources_of
from interlock.router import Route

__all__ = ["Validation", "ValidationReport", "validate_services"]

AT_ONCE: Final = 4
"""Reads that one validation makes at a time."""

NOBODY: Final = "validation@interlock.invalid"
"""An address that nobody can have: to log in with it must fail, and in one way only."""

_NEEDS: Final[Mapping[str, type[Any]]] = MappingProxyType({"auth": Authenticates, "files": StoresFiles})

_AWAY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "real": "see that it runs, and look at INTERLOCK_API_BASE_URL",
        "sql": "see that the database runs, and look at INTERLOCK_DATABASE_URL",
        "supabase": "see that the project runs, and look at INTERLOCK_SUPABASE_URL",
    }
)
_LACKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "real": "look at INTERLOCK_API_BASE_URL and INTERLOCK_API_DIALECT, or put the service on another backend",
        "sql": "run interlock migrate",
        "supabase": "bring the project's migrations up: supabase db push",
    }
)
_REFUSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "real": "let it trust the keys at /.well-known/jwks.json, and compare the clocks",
        "supabase": "set INTERLOCK_SUPABASE_JWT_SECRET, or let the project trust our key; compare the clocks; bring the migrations with their grants up",
    }
)


class Validation(msgspec.Struct, frozen=True):
    """One thing that was tried. `what` is `routed`, `reachable`, `log-in`, `files` or `read <resource>`; `problem` and `mend` are empty where it is well."""

    service: str
    backend: str
    what: str
    ok: bool
    problem: str = ""
    mend: str = ""


class ValidationReport(msgspec.Struct, frozen=True):
    """Everything that was tried, service by service."""

    rows: tuple[Validation, ...]

    @property
    def ok(self) -> bool:
        """True where nothing is wrong."""
        return all(row.ok for row in self.rows)

    @property
    def problems(self) -> tuple[Validation, ...]:
        """What is wrong."""
        return tuple(row for row in self.rows if not row.ok)


async def validate_services(
    routes: Mapping[str, Route],
    entities: Iterable[Entity[Any]],
    *,
    services: Iterable[str] | None = None,
    seconds: float = 5.0,
) -> ValidationReport:
    """Try every service (or those that are named) on its backend: is it routed, reachable, can it do what the service needs, are its resources there?

    Each call of a backend has `seconds`. Raises nothing: every problem is a row. Nothing is written; one log-in that must fail is tried.
    """
    trying = _Trying(resources_of(entities), seconds)
    wanted = tuple(routes) if services is None else tuple(services)
    rows = await asyncio.gather(*(trying.service(service, routes.get(service)) for service in wanted))
    return ValidationReport(tuple(row for found in rows for row in found))


class _Trying:
    """One validation."""

    def __init__(self, resources: Mapping[str, tuple[str, ...]], seconds: float) -> None:
        self._resources = resources
        self._seconds = seconds
        self._places = asyncio.Semaphore(AT_ONCE)
        self._probes: dict[int, asyncio.Future[Health]] = {}

    async def service(self, service: str, route: Route | None) -> tuple[Validation, ...]:
        """Everything about one service. Where its backend is away, nothing more is asked of it."""
        if route is None:
            mend = f"put it on a backend: INTERLOCK_{service.upper()}_BACKEND"
            return (Validation(service, "", "routed", False, "no backend serves it", mend),)
        rows = [self._reachable(route, await self._probe(route.backend))]
        if not rows[0].ok:
            return tuple(rows)
        if service in _NEEDS:
            rows.append(await self._able(route))
        rows += await asyncio.gather(*(self._there(route, name) for name in self._resources.get(service, ())))
        return tuple(rows)

    async def _probe(self, backend: Backend) -> Health:
        """Of each backend once."""
        probe = self._probes.get(id(backend))
        if probe is None:
            probe = self._probes[id(backend)] = asyncio.ensure_future(self._probed(backend))
        return await probe

    async def _probed(self, backend: Backend) -> Health:
        return (await probed(backend, Asking(), self._seconds))[0]

    def _reachable(self, route: Route, health: Health) -> Validation:
        name = route.backend_name
        problem = "" if health.healthy else f"it does not answer: {health.detail}"
        mend = "" if health.healthy else _AWAY.get(name, f"see that the backend {name!r} runs")
        return Validation(route.service, name, "reachable", health.healthy, problem, mend)

    async def _able(self, route: Route) -> Validation:
        what = "log-in" if route.service == "auth" else route.service
        try:
            able = route.ability(_NEEDS[route.service])
        except Unsupported as error:
            mend = f"put {route.service} on another backend: INTERLOCK_{route.service.upper()}_BACKEND"
            return Validation(route.service, route.backend_name, what, False, error.message, mend)
        if route.service == "auth":
            return await self._log_in(route, able)
        return Validation(route.service, route.backend_name, what, True)

    async def _log_in(self, route: Route, able: Authenticates) -> Validation:
        """Nobody's log-in is refused where log-in works."""
        name = route.backend_name
        try:
            async with self._places:
                await Asking().ask(lambda: able.login(NOBODY, token_urlsafe(24)), self._seconds + GRACE)
        except (Unauthenticated, RateLimited):
            return Validation(route.service, name, "log-in", True)
        except InterlockError as error:
            mend = _AWAY.get(name, f"look at the backend {name!r}")
            return Validation(route.service, name, "log-in", False, _problem(error), mend)
        return Validation(
            route.service, name, "log-in", False, "it let in a user who does not exist", "trust nobody it logs in"
        )

    async def _there(self, route: Route, resource: str) -> Validation:
        what, name = f"read {resource}", route.backend_name
        try:
            async with self._places:
                await cheap_read(route.backend, resource, Asking(), self._seconds)
        except RateLimited:
            return Validation(route.service, name, what, True)
        except InterlockError as error:
            return Validation(route.service, name, what, False, _problem(error), _mend(error, name))
        return Validation(route.service, name, what, True)


def _problem(error: InterlockError) -> str:
    """One line; of a `Misconfigured` that says its mend itself, what comes before it."""
    return error.problems[0] if isinstance(error, Misconfigured) and error.problems else error.message


def _mend(error: InterlockError, backend: str) -> str:
    reason = reason_of(error)
    if reason in ("misconfigured", "missing"):
        return _LACKS.get(backend, f"look at the backend {backend!r}")
    if reason == "refused":
        return _REFUSES.get(backend, f"look at what the backend {backend!r} lets the system do")
    return _AWAY.get(backend, f"look at the backend {backend!r}")
