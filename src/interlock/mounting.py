"""Building backends from the settings, and closing them: each is built once, when a route first needs it."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from interlock.abilities import (
    Authenticates,
    Closes,
    Invokes,
    OAuth,
    RecoversAccounts,
    Session,
    SignsUrls,
    StoresFiles,
)
from interlock.contract import Backend, Identity
from interlock.entity import Entity
from interlock.errors import Misconfigured, Unavailable
from interlock.http.engine import Engine
from interlock.log import get_logger
from interlock.router import Route
from interlock.settings import Settings
from interlock.tokens import Mints, SupabaseIssuer, TokenIssuer, TokenVerifier

__all__ = ["CallerTokens", "Mount", "Mounts"]

_log = get_logger("interlock")


@dataclass
class Mount:
    """A backend as it is built: what it can do, and whether closing it would lose what it holds."""

    name: str
    backend: Backend
    abilities: Mapping[type[Any], Any] = field(default_factory=dict)
    keep: bool = False
    where: str = ""
    """What it points at, without secrets: the same in every process that reaches the same data. Empty where no other process does."""
    also: Sequence[Closes] = ()
    """What is closed with the backend."""
    routes: set[Route] = field(default_factory=set)
    """The routes that lead here, also retired ones while their last calls run."""


class CallerTokens:
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
        if refresh or session.expires_at <= datetime.now(UTC):
            del self._sessions[identity]
            session = await authenticator.refresh(session.refresh_token)
            self._sessions[identity] = (session, authenticator)
        return session.access_token


def _bound(held: dict[Any, Any], most: int = 10_000) -> None:
    """Keep a memory of callers small: the oldest half goes."""
    if len(held) >= most:
        for key in list(held)[: most // 2]:
            del held[key]


class Mounts:
    """The backends that are there. Owned by the application."""

    def __init__(
        self,
        settings: Settings,
        entities: Sequence[Entity[Any]],
        clock: Callable[[], datetime],
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        *,
        traced: Callable[[Engine], Engine] = lambda engine: engine,
    ) -> None:
        self._settings = settings
        self._entities = tuple(entities)
        self._clock = clock
        self._issuer = issuer
        self._verifier = verifier
        self._traced = traced
        self._held: dict[str, Mount] = {}
        self._tokens: dict[str, CallerTokens] = {}

    def __iter__(self) -> Iterator[Mount]:
        return iter(tuple(self._held.values()))

    def tokens_of(self, name: str) -> CallerTokens | None:
        """What mints and keeps the callers' tokens of a backend, where it needs any."""
        return self._tokens.get(name)

    async def release(self, routes: Sequence[Route]) -> None:
        """These routes lead nowhere any more. Closes each backend that no route leads to."""
        for mount in self:
            mount.routes.difference_update(routes)
        await self.close_unused()

    async def close_unused(self) -> None:
        """Close each backend that no route leads to."""
        for mount in self:
            if not mount.routes and not mount.keep:
                del self._held[mount.name]
                await _close(mount)

    async def aclose(self) -> None:
        """Close them all."""
        for mount in self:
            await _close(mount)
        self._held.clear()

    async def get(self, name: str) -> Mount:
        mount = self._held.get(name)
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
            self._held[name] = mount
        return mount

    async def _build_mock(self) -> Mount:
        from interlock.backends.memory import MemoryBackend
        from interlock.backends.memory.oauth import PretendedProvider
        from interlock.seed import seed_demo

        memory = MemoryBackend(self._entities, name="mock", clock=self._clock)
        accounts = self._accounts(memory)
        provider = PretendedProvider(accounts[Authenticates].session_for, clock=self._clock)
        # Log-in and demo data stay sound, so that there is a screen to see the trouble on.
        mount = Mount("mock", self._troubled(memory), {**accounts, OAuth: provider}, keep=True)
        if self._settings.seed_demo:
            await seed_demo(memory, size=self._settings.seed_size, seed=self._settings.seed)
        return mount

    def _troubled(self, backend: Backend) -> Backend:
        """The backend, slow and failing as the settings say. Not for `put`, which brings the trail and no caller's data."""
        from interlock.testing.faults import VERBS, Faults, Rates

        settings = self._settings
        rates = Rates(
            latency=settings.mock_latency,
            unavailable=settings.mock_error_rate,
            conflict=settings.mock_conflict_rate,
            verbs=VERBS - {"put"},
        )
        return Faults(backend, rates, seed=settings.seed) if rates.trouble else backend

    async def _build_sql(self) -> Mount:
        from interlock.backends.sql import SqlBackend, migrate

        settings = self._settings
        if settings.database_url is None:
            settings.home.mkdir(parents=True, exist_ok=True)
            await migrate(settings.sql_url, self._entities)
        backend = SqlBackend(settings.sql_url, self._entities, name="sql")
        await backend.open()
        return Mount("sql", backend, self._accounts(backend), where=_place_of(settings.sql_url))

    async def _build_real(self) -> Mount:
        from interlock.backends.rest import RestBackend, RestSettings, dialect_named
        from interlock.http import open_engine

        settings = self._settings
        if settings.api_base_url is None:
            raise Misconfigured(["INTERLOCK_API_BASE_URL: is not set, and 'real' was asked for; set it"])
        rest = RestSettings(
            base_url=settings.api_base_url,
            dialect=dialect_named(settings.api_dialect),
            timeout=settings.api_timeout,
            engine=settings.http_engine,
        )
        engine = open_engine(rest.engine, connect_timeout=rest.connect_timeout)
        tokens = self._tokens.setdefault("real", CallerTokens(self._issuer, settings.token_ttl))
        backend = RestBackend(
            rest,
            self._entities,
            tokens=tokens,
            name="real",
            engine=self._traced(engine),
            voucher=self._issuer.voucher,
        )
        return Mount("real", backend, where=f"{rest.base_url} {rest.dialect.name}")

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
        settings = self._settings.at_local_supabase() if self._settings.supabase_url is None else self._settings
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
            self._verifier.trust_supabase(secret=secret.get_secret_value())
        issuer = SupabaseIssuer(self._issuer if secret is None else secret.get_secret_value())
        tokens = self._tokens.setdefault("supabase", CallerTokens(issuer, settings.token_ttl))
        key, engine = anon_key.get_secret_value(), self._traced(open_engine(settings.http_engine))
        backend = SupabaseBackend(
            SupabaseSettings(url=url, anon_key=key, realtime=settings.supabase_realtime),
            self._entities,
            tokens=tokens,
            name="supabase",
            engine=engine,
        )
        files = SupabaseFiles(url, key, engine=engine, tokens=tokens)
        functions = SupabaseFunctions(url, key, tokens=tokens)
        try:
            self._verifier.trust_supabase(jwks=await accounts.public_keys())
        except Unavailable as error:
            _log.warning("the public keys of Supabase were not read", error=error.code)
        abilities: dict[type[Any], Any] = {
            **dict.fromkeys((Authenticates, RecoversAccounts, OAuth), accounts),
            **dict.fromkeys((StoresFiles, SignsUrls), files),
            Invokes: functions,
        }
        return Mount("supabase", backend, abilities, also=(accounts, files, functions), where=url)

    def _accounts(self, backend: Any) -> Mapping[type[Any], Any]:
        from interlock.accounts import Accounts, FileOutbox

        settings = self._settings
        accounts = Accounts(
            backend,
            self._issuer,
            clock=self._clock,
            messenger=FileOutbox(settings.home / "outbox"),
            ttl=settings.token_ttl,
            refresh_ttl=settings.refresh_ttl,
        )
        return {Authenticates: accounts, RecoversAccounts: accounts}


def _place_of(url: str) -> str:
    """Which database that is, without user and password; a file is on this machine alone."""
    parts = urlsplit(url)
    if parts.scheme.startswith("sqlite"):
        return f"{platform.node()} {parts.path}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _close(mount: Mount) -> None:
    for held in (mount.backend, *mount.also):
        if isinstance(held, Closes):
            await held.aclose()
