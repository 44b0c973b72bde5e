"""The composition root: settings become backends, routes and services. It builds, owns and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Final

from interlock.abilities import (
    Authenticates,
    ForwardsAudit,
    Health,
    Probes,
    Session,
)
from interlock.contract import Backend, Identity, Request, Response
from interlock.entities import ENTITIES
from interlock.entities.audit import AuditEntry
from interlock.entity import Entity
from interlock.errors import InterlockError, Invalid, Unavailable
from interlock.health import HealthMonitor, ValidationReport, validate_services
from interlock.identifiers import new_id
from interlock.log import get_logger
from interlock.mounting import Mount, Mounts
from interlock.observability import Metrics, Observability
from interlock.observability.tracking import LoggedReports, SentryTracker, Tracker
from interlock.pipelines import Pipelines
from interlock.router import Route, Router
from interlock.services import EntityService, Services
from interlock.services.facade import Wiring
from interlock.services.relay import AuditRelay
from interlock.settings import Settings
from interlock.tokens import TokenIssuer, TokenVerifier
from interlock.trail import entries_seen
from interlock.validation import suggest
from interlock.warmup import WarmingUp, WarmUp, WarmUpSettings

__all__ = ["SERVICES", "SYSTEM", "App", "ServiceStatus", "connect"]

SERVICES: Final = (
    "auth",
    "customers",
    "sales",
    "tickets",
    "contracts",
    "users",
    "dashboard",
    "notifications",
    "files",
    "audit",
)

PATIENCE: Final = 5.0
"""Seconds that a backend has to answer before it may serve: a slow one may, a dead one may not."""

SYSTEM: Final = Identity("system", "system", "system")
"""Who acts where no user does."""

_log = get_logger("interlock")


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class ServiceStatus:
    """One row of the status table. `latency` is in seconds; `layers` is what `Pipeline.describe` says."""

    service: str
    backend: str
    epoch: int
    stage: str
    health: str
    latency: float | None
    in_flight: int
    detail: str = ""
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Switch:
    """A switch that has happened. `warm_up` is what the new route took before it served."""

    service: str
    old: str
    new: str
    epoch: int
    actor: str
    at: datetime
    warm_up: WarmUp = field(default_factory=WarmUp)


class App:
    """Interlock, running: backends, routes, sessions. Make it with `App.open`, close it with `aclose`."""

    def __init__(
        self,
        settings: Settings,
        own: Mapping[Entity[Any], type[EntityService[Any]]],
        clock: Callable[[], datetime],
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.entities: Mapping[str, Entity[Any]] = MappingProxyType({e.resource: e for e in (*ENTITIES, *own)})
        self.router = Router()
        self.issuer = TokenIssuer.from_directory(settings.home / "keys")
        self.verifier = TokenVerifier.for_issuer(self.issuer)
        if settings.supabase_jwt_secret is not None:
            self.verifier.trust_supabase(secret=settings.supabase_jwt_secret.get_secret_value())
        self.observability = Observability(
            metrics=settings.metrics,
            log_calls=settings.log_calls,
            tracing=settings.tracing,
            tracker=_tracker(settings),
            keys=settings.home / "keys",
        )
        self.switches: list[Callable[[Switch], None]] = []
        self._own = {entity.resource: service for entity, service in own.items()}
        self._mounts = Mounts(
            settings,
            tuple(self.entities.values()),
            clock,
            self.issuer,
            self.verifier,
            traced=self.observability.traced_engine,
        )
        self._warming = WarmingUp(self.entities.values(), WarmUpSettings(patience=PATIENCE, fill=settings.warm_up))
        self._pipelines = Pipelines(settings, self.entities, self.observability, self._warming)
        self.health = HealthMonitor(
            lambda: self.router.table,
            self.entities.values(),
            state_of=self._pipelines.state_of,
            told=self.observability.recorder.probed,
        )
        self._switching = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wiring = Wiring(
            self.router, self.entities, clock, self._remember, MappingProxyType(self._own), self._written
        )
        self.relay = AuditRelay(self._audit_sources, lambda: self.router.route("audit"))

    @classmethod
    async def open(
        cls,
        settings: Settings | None = None,
        *,
        own: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({}),
        clock: Callable[[], datetime] = utc_now,
    ) -> App:
        """Build every backend that the settings name, and publish the routes.

        `own` are entities of one's own, each with its service (`EntityService` where it has no rules). Raises `Misconfigured`
        with every problem; nothing stays open then.
        """
        app = cls(settings or Settings.load(), own, clock)
        try:
            await app._pipelines.start()
            await app._publish_all()
            app.relay.start()
        except BaseException:
            await app.aclose()
            raise
        return app

    async def aclose(self) -> None:
        """Release everything. Closing twice does nothing more."""
        await self.health.aclose()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.relay.aclose()
        await self._pipelines.aclose()
        await self._mounts.aclose()
        await self.observability.aclose()

    # -- sessions -------------------------------------------------------------------------------------------------

    def services(self, identity: Identity | None = None, *, references_checked: bool = False) -> Services:
        """The ten services for one caller; without an identity, for somebody who has yet to log in.

        With `references_checked`, the caller answers for it that records of other services which are referred to exist.
        """
        return Services(self._wiring, identity, references_checked=references_checked)

    def _remember(self, session: Session) -> None:
        route = self.router.route("auth")
        tokens = self._mounts.tokens_of(route.backend_name)
        if tokens is not None:
            tokens.remember(session, route.ability(Authenticates))

    async def _written(self, entity: Entity[Any], route: Route, request: Request, answer: Response) -> None:
        """Bring a write into the trail where its backend can't: it has no trail to forward, and `audit` is served elsewhere."""
        if isinstance(route.backend, ForwardsAudit) or self.router.route("audit").backend is route.backend:
            return
        entries = entries_seen(entity, request, answer, self.clock())
        try:
            await self.relay.record(*entries)
        except InterlockError as error:
            _log.warning("audit entries wait for the audit service", error=error.code, entries=len(entries))

    # -- routes ---------------------------------------------------------------------------------------------------

    @property
    def service_names(self) -> tuple[str, ...]:
        """The ten, and those of the application's own entities."""
        extra = {self.entities[resource].service for resource in self._own} - set(SERVICES)
        return (*SERVICES, *sorted(extra))

    async def _publish_all(self) -> None:
        epoch = self.router.next_epoch()
        mounts = {name: await self._mounts.get(self.settings.backend_of(name)) for name in self.service_names}
        try:
            await self._warming.connect({name: (mount.name, mount.backend) for name, mount in mounts.items()})
        except Unavailable as error:
            # Who starts first is nobody's to say: this process starts, and is not ready until the backend is there.
            _log.warning("started before a backend that is in use", error=error.code)
        self.router.publish(*(self._route(name, mount, epoch) for name, mount in mounts.items()))

    def _route(self, service: str, mount: Mount, epoch: int) -> Route:
        route = self._pipelines.route(service, mount, epoch)
        mount.routes.add(route)
        return route

    async def switch(self, service: str, backend_name: str, actor: Identity = SYSTEM) -> Switch:
        """Serve a service from another backend from now on.

        The backend is built and warmed up before the table turns; calls in flight finish where they began; the old backend is
        released once nobody uses it. Raises `Invalid` for an unknown name, `Misconfigured` for a backend without configuration,
        `Unavailable` for one that does not answer, or lacks the service's tables. Then nothing has changed.
        """
        return (await self.switch_many({service: backend_name}, actor))[0]

    async def switch_all(self, backend_name: str, actor: Identity = SYSTEM) -> tuple[Switch, ...]:
        """Serve every service from one backend from now on: those that are there stay as they are, the others are switched in one step, or none."""
        table = self.router.table
        wanted = {name: backend_name for name in self.service_names if table[name].backend_name != backend_name}
        return await self.switch_many(wanted, actor)

    async def switch_many(self, wanted: Mapping[str, str], actor: Identity = SYSTEM) -> tuple[Switch, ...]:
        """Several switches at once: one new table, or none."""
        for service in wanted:
            if service not in self.service_names:
                raise Invalid({"service": f"{service!r} does not exist{suggest(service, self.service_names)}"})
        async with self._switching:
            mounts = {service: await self._mounts.get(name) for service, name in wanted.items()}
            opened = await self._connected(mounts)
            epoch = self.router.next_epoch()
            routes = [self._route(service, mount, epoch) for service, mount in mounts.items()]
            try:
                await self._pipelines.retire(*mounts)
                filled = await self._warming.fill(routes, self._pipelines.followed)
            except BaseException:
                for route in routes:
                    await self._pipelines.close(route)
                await self._mounts.release(routes)
                raise
            replaced = self.router.publish(*routes)
        done = tuple(
            Switch(
                route.service,
                old.backend_name,
                route.backend_name,
                epoch,
                actor.user_id,
                self.clock(),
                opened[route.service] + filled[route.service],
            )
            for route, old in zip(routes, replaced, strict=True)
        )
        for switch in done:
            await self._tell(switch, actor)
        self._spawn(self._release(replaced))
        return done

    async def _connected(self, mounts: Mapping[str, Mount]) -> Mapping[str, WarmUp]:
        """See that the backends can serve these services. Raises `Unavailable` where one cannot."""
        try:
            return await self._warming.connect({name: (mount.name, mount.backend) for name, mount in mounts.items()})
        except BaseException as error:
            await self._mounts.close_unused()
            if isinstance(error, Unavailable):
                raise Unavailable(f"{error.message}; nothing was switched") from error
            raise

    async def _tell(self, switch: Switch, actor: Identity) -> None:
        self.observability.recorder.switched(switch.service)
        warm = switch.warm_up
        _log.info(
            "switched",
            service=switch.service,
            old=switch.old,
            new=switch.new,
            epoch=switch.epoch,
            warm_up_reads=warm.reads,
            warm_up_failed=warm.failed,
            warm_up_seconds=round(warm.seconds, 3),
        )
        entry = _switch_entry(switch, actor)
        try:
            await self.relay.record(entry)
        except InterlockError as error:
            _log.warning("audit entry of a switch is kept until the audit service answers", error=error.code)
        for told in tuple(self.switches):
            told(switch)

    async def _release(self, replaced: Sequence[Route]) -> None:
        """Close what the replaced routes used, once their last calls have finished and if no route uses it again."""
        for route in replaced:
            await route.drained()
        async with self._switching:
            for route in replaced:
                await self._pipelines.close(route)
            await self._mounts.release(replaced)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- backends -------------------------------------------------------------------------------------------------

    def _audit_sources(self) -> tuple[tuple[str, ForwardsAudit], ...]:
        """The backends that write audit entries; of the one where `audit` is served, they are only acknowledged."""
        return tuple((mount.name, mount.backend) for mount in self._mounts if isinstance(mount.backend, ForwardsAudit))

    def get_metrics(self) -> Metrics:
        """What was counted since the start: calls with their times, what the layers did, switches. Empty with `metrics` off."""
        return self.observability.get_metrics()

    # -- health ---------------------------------------------------------------------------------------------------

    async def status(self) -> tuple[ServiceStatus, ...]:
        """Every service with its backend, epoch, health and latency, from fresh probes."""
        backends = {route.backend_name: route.backend for route in self.router.table.values()}
        found = dict(zip(backends, await asyncio.gather(*map(probe, backends.values())), strict=True))
        for name, health in found.items():
            self.observability.recorder.probed(name, health)
        return tuple(
            ServiceStatus(
                service=route.service,
                backend=route.backend_name,
                epoch=route.epoch,
                stage="off",
                health="healthy" if found[route.backend_name].healthy else "unhealthy",
                latency=found[route.backend_name].latency,
                in_flight=route.in_flight,
                detail="; ".join(filter(None, (found[route.backend_name].detail, self._pipelines.note_of(route)))),
                layers=self._pipelines.of(route).describe(),
            )
            for route in self.router.table.values()
        )

    def notes(self) -> Mapping[str, str]:
        """What is otherwise than by default on the routes of services, and why."""
        found = {name: self._pipelines.note_of(route) for name, route in self.router.table.items()}
        return {name: note for name, note in found.items() if note}

    async def validate_services(self) -> ValidationReport:
        """Try every service on its backend: is it reachable, can users log in, are its tables there? Raises nothing: each problem is a row, with its mend."""
        return await validate_services(self.router.table, self.entities.values(), services=self.service_names)


async def probe(backend: Backend, timeout: float = 2.0) -> Health:
    """What the backend's probe says within `timeout` seconds, or healthy where it has none."""
    return await backend.probe(timeout) if isinstance(backend, Probes) else Health(True, 0.0)


def _tracker(settings: Settings) -> Tracker | None:
    """Who is told of unexpected errors."""
    if not settings.error_tracking:
        return None
    if settings.sentry_dsn is None:
        return LoggedReports()
    dsn = settings.sentry_dsn.get_secret_value()
    return SentryTracker(dsn, environment=settings.environment, release=version("interlock"))


def _switch_entry(switch: Switch, actor: Identity) -> AuditEntry:
    return AuditEntry(
        id=new_id(),
        tenant_id=actor.tenant_id,
        created_at=switch.at,
        updated_at=switch.at,
        created_by=actor.user_id,
        updated_by=actor.user_id,
        version=1,
        actor=actor.user_id,
        action="switch",
        target=switch.service,
        before=f'{{"backend":"{switch.old}"}}',
        after=f'{{"backend":"{switch.new}"}}',
        backend=switch.new,
        epoch=switch.epoch,
    )


@asynccontextmanager
async def connect(
    settings: Settings | None = None,
    *,
    own: Mapping[Entity[Any], type[EntityService[Any]]] = MappingProxyType({}),
    identity: Identity | None = None,
) -> AsyncIterator[Services]:
    """The ten services, for the length of an `async with`::

    async with interlock.connect() as crm:
        await crm.auth.login("agent@acme.test", "interlock-demo")
        page = await crm.customers.list(status="active", sort="company_name")
    """
    app = await App.open(settings, own=own)
    try:
        yield app.services(identity)
    finally:
        await app.aclose()
