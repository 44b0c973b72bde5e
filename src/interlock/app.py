"""The composition root: settings become backends, routes and services. It builds, owns and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import structlog

from interlock.abilities import (
    Authenticates,
    Closes,
    ForwardsAudit,
    Health,
    Invokes,
    OAuth,
    Probes,
    RecoversAccounts,
    Session,
    SignsUrls,
    StoresFiles,
)
from interlock.contract import Backend, Identity, Request, Response
from interlock.entities import ENTITIES
from interlock.entities.audit import AuditEntry
from interlock.entity import Entity
from interlock.errors import InterlockError, Invalid, Misconfigured, Unavailable
from interlock.identifiers import new_id
from interlock.layers.invalidation import Invalidation
from interlock.layers.pipeline import LayerSettings, Pipeline, layered
from interlock.router import Route, Router
from interlock.services import EntityService, Services
from interlock.services.facade import Wiring
from interlock.services.relay import AuditRelay
from interlock.settings import Settings
from interlock.tokens import Mints, SupabaseIssuer, TokenIssuer, TokenVerifier
from interlock.trail import entries_seen
from interlock.validation import suggest

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

_log = structlog.get_logger("interlock")


def utc_now() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@dataclass
class Mount:
    """A backend as it is built: what it can do, and whether closing it would lose what it holds."""

    name: str
    backend: Backend
    abilities: Mapping[type[Any], Any] = field(default_factory=dict)
    keep: bool = False
    also: Sequence[Closes] = ()
    """What is closed with the backend."""
    routes: set[Route] = field(default_factory=set)
    """The routes that lead here, also retired ones while their last calls run."""


@dataclass(frozen=True)
class ServiceStatus:
    """One row of the status table. `latency` is in seconds."""

    service: str
    backend: str
    epoch: int
    stage: str
    health: str
    latency: float | None
    in_flight: int
    detail: str = ""


@dataclass(frozen=True)
class Switch:
    """A switch that has happened."""

    service: str
    old: str
    new: str
    epoch: int
    actor: str
    at: datetime


class _Tokens:
    """Tokens for one backend that speaks HTTP: of the log-in that the backend itself gave, else made here, so that it trusts them."""

    def __init__(self, issuer: Mints, ttl: float) -> None:
        self._issuer = issuer
        self._ttl = ttl
        self._minted: dict[Identity, tuple[str, float]] = {}
        self._sessions: dict[Identity, tuple[Session, Authenticates]] = {}

    def remember(self, session: Session, authenticator: Authenticates) -> None:
        """Call for this identity with this log-in's tokens from now on."""
        _bound(self._sessions)
        self._sessions[session.identity] = (session, authenticator)

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        """A token that is good for a while. With `refresh`, another one than before."""
        if identity in self._sessions:
            return await self._of_session(identity, refresh=refresh)
        now = asyncio.get_running_loop().time()
        held = self._minted.get(identity)
        if held is not None and not refresh and held[1] > now:
            return held[0]
        _bound(self._minted)
        token = self._issuer.mint(identity, self._ttl)
        self._minted[identity] = (token, now + self._ttl * 0.8)
        return token

    async def _of_session(self, identity: Identity, *, refresh: bool) -> str:
        session, authenticator = self._sessions[identity]
        if refresh or session.expires_at <= utc_now():
            del self._sessions[identity]
            session = await authenticator.refresh(session.refresh_token)
            self._sessions[identity] = (session, authenticator)
        return session.access_token


def _bound(held: dict[Any, Any], most: int = 10_000) -> None:
    """Keep a memory of callers small: the oldest half goes."""
    if len(held) >= most:
        for key in list(held)[: most // 2]:
            del held[key]


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
        self.switches: list[Callable[[Switch], None]] = []
        self._own = {entity.resource: service for entity, service in own.items()}
        self._mounts: dict[str, Mount] = {}
        self._tokens: dict[str, _Tokens] = {}
        self._told = Invalidation()
        self._layering = LayerSettings(settings.cache, settings.cache_ttl, settings.dedup, settings.batch)
        self._pipelines: dict[Route, Pipeline] = {}
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
            await app._publish_all()
            app.relay.start()
        except BaseException:
            await app.aclose()
            raise
        return app

    async def aclose(self) -> None:
        """Release everything. Closing twice does nothing more."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.relay.aclose()
        for route in tuple(self._pipelines):
            await self._close_layers(route)
        mounts, self._mounts = self._mounts, {}
        for mount in mounts.values():
            await _close(mount)

    # -- sessions -------------------------------------------------------------------------------------------------

    def services(self, identity: Identity | None = None) -> Services:
        """The ten services for one caller; without an identity, for somebody who has yet to log in."""
        return Services(self._wiring, identity)

    def _remember(self, session: Session) -> None:
        route = self.router.route("auth")
        tokens = self._tokens.get(route.backend_name)
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
        routes = []
        for service in self.service_names:
            mount = await self._mount(self.settings.backend_of(service))
            routes.append(self._route(service, mount, epoch))
        self.router.publish(*routes)

    def _route(self, service: str, mount: Mount, epoch: int) -> Route:
        pipeline = layered(mount.backend, mount.name, self._layering, self._told)
        handle = None if pipeline is None else pipeline.handle
        route = Route(service, mount.name, mount.backend, epoch, handle=handle, abilities=mount.abilities)
        if pipeline is not None:
            self._pipelines[route] = pipeline
        mount.routes.add(route)
        return route

    async def switch(self, service: str, backend_name: str, actor: Identity = SYSTEM) -> Switch:
        """Serve a service from another backend from now on.

        The backend is built and probed before the table turns; calls in flight finish where they began; the old backend is
        released once nobody uses it. Raises `Invalid` for an unknown name, `Misconfigured` for a backend without configuration,
        `Unavailable` for one that does not answer. Then nothing has changed.
        """
        return (await self.switch_many({service: backend_name}, actor))[0]

    async def switch_many(self, wanted: Mapping[str, str], actor: Identity = SYSTEM) -> tuple[Switch, ...]:
        """Several switches at once: one new table, or none."""
        for service in wanted:
            if service not in self.service_names:
                raise Invalid({"service": f"{service!r} does not exist{suggest(service, self.service_names)}"})
        async with self._switching:
            mounts = {service: await self._mount(name) for service, name in wanted.items()}
            for name, mount in {mount.name: mount for mount in mounts.values()}.items():
                health = await probe(mount.backend, PATIENCE)
                if not health.healthy:
                    await self._close_unused()
                    raise Unavailable(f"the backend {name!r} does not answer ({health.detail}); nothing was switched")
            epoch = self.router.next_epoch()
            routes = [self._route(service, mount, epoch) for service, mount in mounts.items()]
            replaced = self.router.publish(*routes)
        done = tuple(
            Switch(route.service, old.backend_name, route.backend_name, epoch, actor.user_id, self.clock())
            for route, old in zip(routes, replaced, strict=True)
        )
        for switch in done:
            await self._tell(switch, actor)
        self._spawn(self._release(replaced))
        return done

    async def _tell(self, switch: Switch, actor: Identity) -> None:
        _log.info("switched", service=switch.service, old=switch.old, new=switch.new, epoch=switch.epoch)
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
                await self._close_layers(route)
                for mount in self._mounts.values():
                    mount.routes.discard(route)
            await self._close_unused()

    async def _close_layers(self, route: Route) -> None:
        pipeline = self._pipelines.pop(route, None)
        if pipeline is not None:
            await pipeline.aclose()

    async def _close_unused(self) -> None:
        for mount in [mount for mount in self._mounts.values() if not mount.routes and not mount.keep]:
            del self._mounts[mount.name]
            await _close(mount)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- backends -------------------------------------------------------------------------------------------------

    async def _mount(self, name: str) -> Mount:
        mount = self._mounts.get(name)
        if mount is None:
            build = {
                "mock": self._build_mock,
                "sql": self._build_sql,
                "real": self._build_real,
                "supabase": self._build_supabase,
            }.get(name)
            if build is None:
                raise Misconfigured([f"there is no backend {name!r}; choose mock, real, sql or supabase"])
            mount = await build()
            self._mounts[name] = mount
        return mount

    async def _build_mock(self) -> Mount:
        from interlock.backends.memory import MemoryBackend
        from interlock.backends.memory.oauth import PretendedProvider
        from interlock.seed import seed_demo

        memory = MemoryBackend(tuple(self.entities.values()), name="mock", clock=self.clock)
        accounts = self._accounts(memory)
        provider = PretendedProvider(accounts[Authenticates].session_for, clock=self.clock)
        # Log-in and demo data stay sound, so that there is a screen to see the trouble on.
        mount = Mount("mock", self._troubled(memory), {**accounts, OAuth: provider}, keep=True)
        if self.settings.seed_demo:
            await seed_demo(memory, size=self.settings.seed_size, seed=self.settings.seed)
        return mount

    def _troubled(self, backend: Backend) -> Backend:
        """The backend, slow and failing as the settings say. Not for `put`, which brings the trail and no caller's data."""
        from interlock.testing.faults import VERBS, Faults, Rates

        settings = self.settings
        rates = Rates(
            latency=settings.mock_latency,
            unavailable=settings.mock_error_rate,
            conflict=settings.mock_conflict_rate,
            verbs=VERBS - {"put"},
        )
        return Faults(backend, rates, seed=settings.seed) if rates.trouble else backend

    async def _build_sql(self) -> Mount:
        from interlock.backends.sql import SqlBackend, migrate

        settings = self.settings
        if settings.database_url is None:
            settings.home.mkdir(parents=True, exist_ok=True)
            await migrate(settings.sql_url, tuple(self.entities.values()))
        backend = SqlBackend(settings.sql_url, tuple(self.entities.values()), name="sql")
        await backend.open()
        return Mount("sql", backend, self._accounts(backend))

    async def _build_real(self) -> Mount:
        from interlock.backends.rest import RestBackend, RestSettings, dialect_named

        settings = self.settings
        if settings.api_base_url is None:
            raise Misconfigured(["INTERLOCK_API_BASE_URL: is not set, and 'real' was asked for; set it"])
        rest = RestSettings(
            base_url=settings.api_base_url,
            dialect=dialect_named(settings.api_dialect),
            timeout=settings.api_timeout,
            engine=settings.http_engine,
        )
        tokens = self._tokens.setdefault("real", _Tokens(self.issuer, settings.token_ttl))
        backend = RestBackend(rest, tuple(self.entities.values()), tokens=tokens, name="real")
        return Mount("real", backend)

    async def _build_supabase(self) -> Mount:
        try:
            from interlock.backends.supabase import SupabaseAccounts, SupabaseBackend, SupabaseSettings
            from interlock.backends.supabase.files import SupabaseFiles
            from interlock.backends.supabase.functions import SupabaseFunctions
            from interlock.http import open_engine
        except ModuleNotFoundError as error:
            if str(error.name).startswith("interlock"):
                raise
            raise Misconfigured(
                [f"{error.name}: is not installed, and 'supabase' was asked for; pip install 'interlock[supabase]'"]
            ) from error
        settings = self.settings.at_local_supabase() if self.settings.supabase_url is None else self.settings
        url, anon_key = settings.supabase_url, settings.supabase_anon_key
        if url is None or anon_key is None:
            given = {"INTERLOCK_SUPABASE_URL": url, "INTERLOCK_SUPABASE_ANON_KEY": anon_key}
            raise Misconfigured(
                [
                    f"{name}: is not set, and 'supabase' was asked for; set it, or run interlock supabase start"
                    for name, value in given.items()
                    if value is None
                ]
            )
        service_key, secret = settings.supabase_service_key, settings.supabase_jwt_secret
        accounts = SupabaseAccounts(
            url,
            anon_key.get_secret_value(),
            service_key=service_key.get_secret_value() if service_key is not None else None,
        )
        if secret is not None:
            self.verifier.trust_supabase(secret=secret.get_secret_value())
        issuer = SupabaseIssuer(self.issuer if secret is None else secret.get_secret_value())
        tokens = self._tokens.setdefault("supabase", _Tokens(issuer, settings.token_ttl))
        key, engine = anon_key.get_secret_value(), open_engine(settings.http_engine)
        backend = SupabaseBackend(
            SupabaseSettings(url=url, anon_key=key, realtime=settings.supabase_realtime),
            tuple(self.entities.values()),
            tokens=tokens,
            name="supabase",
            engine=engine,
        )
        files = SupabaseFiles(url, key, engine=engine, tokens=tokens)
        functions = SupabaseFunctions(url, key, tokens=tokens)
        try:
            self.verifier.trust_supabase(jwks=await accounts.public_keys())
        except Unavailable as error:
            _log.warning("the public keys of Supabase were not read", error=error.message)
        abilities: dict[type[Any], Any] = {
            **dict.fromkeys((Authenticates, RecoversAccounts, OAuth), accounts),
            **dict.fromkeys((StoresFiles, SignsUrls), files),
            Invokes: functions,
        }
        return Mount("supabase", backend, abilities, also=(accounts, files, functions))

    def _accounts(self, backend: Any) -> Mapping[type[Any], Any]:
        from interlock.accounts import Accounts, FileOutbox

        settings = self.settings
        accounts = Accounts(
            backend,
            self.issuer,
            clock=self.clock,
            messenger=FileOutbox(settings.home / "outbox"),
            ttl=settings.token_ttl,
            refresh_ttl=settings.refresh_ttl,
        )
        return {Authenticates: accounts, RecoversAccounts: accounts}

    def _audit_sources(self) -> tuple[tuple[str, ForwardsAudit], ...]:
        """The backends that write audit entries; of the one where `audit` is served, they are only acknowledged."""
        return tuple(
            (mount.name, mount.backend) for mount in self._mounts.values() if isinstance(mount.backend, ForwardsAudit)
        )

    # -- health ---------------------------------------------------------------------------------------------------

    async def status(self) -> tuple[ServiceStatus, ...]:
        """Every service with its backend, epoch, health and latency, from fresh probes."""
        backends = {route.backend_name: route.backend for route in self.router.table.values()}
        found = dict(zip(backends, await asyncio.gather(*map(probe, backends.values())), strict=True))
        return tuple(
            ServiceStatus(
                service=route.service,
                backend=route.backend_name,
                epoch=route.epoch,
                stage="off",
                health="healthy" if found[route.backend_name].healthy else "unhealthy",
                latency=found[route.backend_name].latency,
                in_flight=route.in_flight,
                detail=found[route.backend_name].detail,
            )
            for route in self.router.table.values()
        )


async def probe(backend: Backend, timeout: float = 2.0) -> Health:
    """What the backend's probe says within `timeout` seconds, or healthy where it has none."""
    return await backend.probe(timeout) if isinstance(backend, Probes) else Health(True, 0.0)


async def _close(mount: Mount) -> None:
    for held in (mount.backend, *mount.also):
        if isinstance(held, Closes):
            await held.aclose()


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
