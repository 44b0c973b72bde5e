"""The settings, each with its kind, its description and its mend."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, PrivateAttr, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from interlock.errors import Misconfigured
from interlock.settings.guide import FLAG_MEND, GUIDE, GUIDE_API
from interlock.settings.kinds import DatabaseUrl, Flag, Lowered, Port, RedisUrl, Seconds, Share, WebAddress, Words
from interlock.settings.limits import LIMITS, OWN, Attempts, Limits, Places
from interlock.settings.local import LocalSupabase
from interlock.settings.reading import AUTO, GUIDES_DEFAULT, PREFIX, Given, Reading
from interlock.validation import suggest

__all__ = ["BACKENDS", "SERVICES", "Settings"]

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
BACKENDS: Final = ("mock", "real", "sql", "supabase")
NEEDS: Final = MappingProxyType({"real": ("api_base_url",), "supabase": ("supabase_url", "supabase_anon_key")})
_KEYS: Final = ("supabase_anon_key", "supabase_service_key", "supabase_jwt_secret")
_INSTEAD: Final = MappingProxyType({"supabase_url": "start a local one with interlock supabase start"})

EMBEDDED_API: Final = "http://127.0.0.1:{port}/api/v1"


def frozen(given: Mapping[str, str]) -> Mapping[str, str]:
    """A copy that nobody can change."""
    return MappingProxyType(dict(given))


def limited(given: Mapping[str, Limits]) -> Mapping[str, Limits]:
    """A copy that nobody can change."""
    return MappingProxyType(dict(given))


def _setting(default: Any, description: str, mend: str, **options: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"mend": mend}, **options)


class Settings(BaseSettings):
    """Everything that can be configured. `Settings.load()` reads it; a program may also build it by hand.

    `backends` maps each service to its backend; a service that is not named there follows `api_mode`. `limits` maps each backend to
    those of its limits that are its own; `limits_of` answers all of them.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=True)

    api_mode: Annotated[Literal["mock", "real", "sql", "supabase"], Lowered] = _setting(
        "mock", "The backend of every service that has none of its own.", "choose mock, real, sql or supabase"
    )
    backends: Annotated[Mapping[str, str], AfterValidator(frozen), PlainSerializer(dict)] = _setting(
        {}, "The backend of each service that has its own.", "choose mock, real, sql, supabase or auto"
    )
    environment: Annotated[Literal["development", "test", "staging", "production"], Lowered] = _setting(
        "development",
        "Where the program runs. Demo data is made in development and test only.",
        "choose development, test, staging or production",
    )
    home: Path = _setting(
        Path(".interlock"), "The folder that holds state: database, keys, run state.", "give the path of a folder"
    )

    host: str = _setting("127.0.0.1", "The address that servers listen on.", "give an address", min_length=1)
    port: Port = _setting(8000, "The gateway's port.", "give a port from 1 to 65535")
    api_port: Port = _setting(5137, "The port of the real API that `up` starts.", "give a port from 1 to 65535")
    supabase_port: Port = _setting(
        54321, "The port of a local Supabase, where one is started.", "give a port from 1 to 65535"
    )

    api_base_url: WebAddress | None = _setting(
        None,
        "Where the real API is. Without it no service can be on `real`; `up` brings an API of its own.",
        "write an address such as https://api.example.com/v1, without user, password, query or fragment",
    )
    api_timeout: Seconds = _setting(30.0, "Seconds that one call of the real API may take.", "give seconds above 0")
    api_dialect: Annotated[Literal["interlock", "json_server", "aspnet"], Lowered] = _setting(
        "interlock", "How the real API speaks.", "choose interlock, json_server or aspnet"
    )
    http_engine: Annotated[Literal["pyreqwest", "aiohttp"], Lowered] = _setting(
        "pyreqwest", "The HTTP client's engine.", "choose pyreqwest or aiohttp"
    )

    database_url: DatabaseUrl | None = _setting(
        None,
        "The sql backend's database; a SQLite file in the home folder when not given.",
        "begin it with sqlite+aiosqlite:/// or postgresql+asyncpg://",
    )

    supabase_url: WebAddress | None = _setting(
        None,
        "The Supabase project's address. Without it, the local Supabase that runs out of the home folder; `up` starts one.",
        "write an address such as https://abc.supabase.co",
    )
    supabase_anon_key: SecretStr | None = _setting(
        None, "The Supabase project's anon key. A secret.", "copy the project's anon key"
    )
    supabase_service_key: SecretStr | None = _setting(
        None,
        "The Supabase project's service key, with which invited users get their accounts. A secret.",
        "copy the project's service key",
    )
    supabase_jwt_secret: Annotated[SecretStr, Field(min_length=32)] | None = _setting(
        None,
        "The Supabase project's JWT secret: signs for users who logged in elsewhere, checks those who logged in there. A secret.",
        "copy the project's JWT secret; it has 32 characters or more",
    )
    supabase_realtime: Flag = _setting(
        True, "Whether Supabase Realtime wakes who watches changes; else they are looked for.", FLAG_MEND
    )
    supabase_offline: Flag = _setting(False, "Whether writes are queued while Supabase is away.", FLAG_MEND)
    supabase_sync_interval: Seconds = _setting(
        30.0, "Seconds between two attempts to send what is queued.", "give seconds above 0"
    )
    supabase_auth_method: Annotated[
        Literal["password", "email", "magic_link", "magiclink", "oauth", "jwt"], Lowered
    ] = _setting(
        "password",
        "The way to log in at Supabase that is offered first.",
        "choose password, email, magic_link, oauth or jwt",
    )

    token_ttl: Seconds = _setting(900.0, "Seconds that an access token is good for.", "give seconds above 0")
    refresh_ttl: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] = _setting(
        2_592_000.0, "Seconds that a refresh token is good for.", "give seconds above 0, at most a year"
    )

    rate_limit: Annotated[int, Field(ge=0, le=1_000_000)] = _setting(
        500, "Calls a second that one caller may make at the gateway; 0 for no limit.", "give a whole number, 0 or more"
    )
    login_limit: Annotated[int, Field(ge=0, le=1_000_000)] = _setting(
        60, "Log-in attempts a minute from one address; 0 for no limit.", "give a whole number, 0 or more"
    )
    body_limit: Annotated[int, Field(ge=1024, le=1 << 30)] = _setting(
        2 << 20, "Bytes that the body of one call may have.", "give bytes from 1024 to 1073741824"
    )
    upload_limit: Annotated[int, Field(ge=1024, le=1 << 40)] = _setting(
        100 << 20, "Bytes that an uploaded file may have.", "give bytes from 1024 to 1099511627776"
    )
    cors_origins: Words = _setting(
        ("*",), "Origins that a browser may call the gateway from, separated by commas.", "list origins, or write *"
    )

    seed_size: Annotated[int, Field(ge=0, le=100_000)] = _setting(
        60, "Customers of each demo tenant.", "give a whole number from 0 to 100000"
    )
    seed: int = _setting(1, "What the demo data is drawn from: the same number, the same data.", "give a whole number")
    mock_latency: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = _setting(
        0.0, "Seconds that each call of the mock takes.", "give seconds from 0 to 60"
    )
    mock_error_rate: Share = _setting(
        0.0, "The share of the mock's calls that fail as unavailable.", "give a number from 0 to 1"
    )
    mock_conflict_rate: Share = _setting(
        0.0, "The share of the mock's updates that meet a conflict.", "give a number from 0 to 1"
    )

    cache: Flag = _setting(False, "Whether answers are cached.", FLAG_MEND)
    cache_ttl: Seconds = _setting(300.0, "Seconds that a cached answer is good for.", "give seconds above 0")
    cache_stale: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = _setting(
        0.0,
        "Seconds that an answer whose time is over may stand in, marked as stale, for a backend that is away; 0 for never.",
        "give seconds from 0 to 86400",
    )
    dedup: Flag = _setting(False, "Whether equal calls in flight share one answer.", FLAG_MEND)
    batch: Flag = _setting(False, "Whether gets of one moment travel together.", FLAG_MEND)

    redis_url: RedisUrl | None = _setting(
        None,
        "The Redis or Valkey that several processes keep the cache in; each its own memory when not given. May hold a secret.",
        "begin it with redis://, rediss:// or unix://",
    )
    cache_watch: Flag = _setting(
        True,
        "Whether what is cached is watched for changes that others make, where the backend tells of them.",
        FLAG_MEND,
    )

    deadline: Seconds = _setting(
        30.0, "Seconds that a call may take, with all of its attempts.", "give seconds above 0"
    )
    concurrency: Places = _setting(
        64,
        "Calls of one service that may run at once; 0 for no limit. The mock has none.",
        "give a whole number, 0 or more",
    )
    queue: Places = _setting(
        1000, "Calls of one service that may wait for their turn; more are refused.", "give a whole number, 0 or more"
    )
    retries: Attempts = _setting(
        2,
        "Attempts more, after an error that may pass, of what may be sent again. The mock has none.",
        "give a whole number from 0 to 10",
    )
    retry_budget: Share = _setting(0.1, "The share of calls that retries may add.", "give a number from 0 to 1")
    breaker: Flag = _setting(True, "Whether a backend that fails is left alone for a while. Not the mock.", FLAG_MEND)
    breaker_failures: Share = _setting(
        0.5, "The share of failures within ten seconds at which it is left alone.", "give a number from 0 to 1"
    )
    breaker_pause: Seconds = _setting(
        2.0, "Seconds that it is left alone, before a few calls try it.", "give seconds above 0"
    )
    hedge: Share = _setting(
        0.0,
        "The share of reads that may be sent a second time where the first is late; 0 for none.",
        "give a number from 0 to 1",
    )
    limits: Annotated[Mapping[str, Limits], AfterValidator(limited), PlainSerializer(dict)] = _setting(
        {}, "The limits of each backend that has its own.", "name a backend and its limits"
    )
    warm_up: Annotated[float, Field(ge=0, le=300, allow_inf_nan=False)] = _setting(
        2.0,
        "Seconds that a new route may spend on filling its cache before it serves; 0 for none.",
        "give seconds from 0 to 300",
    )

    log_level: Annotated[Literal["debug", "info", "warning", "error"], Lowered] = _setting(
        "info", "How much is logged.", "choose debug, info, warning or error"
    )
    log_calls: Flag = _setting(False, "Whether every call of a service is logged.", FLAG_MEND)
    metrics: Flag = _setting(True, "Whether /metrics is served.", FLAG_MEND)
    tracing: Flag = _setting(False, "Whether calls are traced with OpenTelemetry.", FLAG_MEND)
    error_tracking: Flag = _setting(False, "Whether unexpected errors are reported.", FLAG_MEND)
    sentry_dsn: SecretStr | None = _setting(
        None, "The Sentry project that unexpected errors are reported to. A secret.", "copy the project's DSN"
    )
    debug: Flag = _setting(False, "Whether every route and switch is logged in detail.", FLAG_MEND)

    _placeholders: tuple[str, ...] = PrivateAttr(())
    _by_default: frozenset[str] = PrivateAttr(frozenset())

    def __init__(self, **values: Any) -> None:
        """Settings made by hand. Raises `Misconfigured` with every problem, named as `load` names them."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            details = {_spelled(detail): detail for detail in error.errors(include_url=False)}
            found = [
                _problem(Given(detail["input"], variable, detail["input"]), detail)
                for variable, detail in details.items()
            ]
            raise Misconfigured(found) from error

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # the sources it leaves out arrive by keyword
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        **_: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given: `load` reads the sources, since it must name the variable of each problem."""
        return (init_settings,)

    @classmethod
    def load(
        cls,
        *,
        env: Mapping[str, str] | None = None,
        env_file: Path | str | None = ".env",
        toml: Path | str | None = "interlock.toml",
        services: Sequence[str] = SERVICES,
        backends: Sequence[str] = BACKENDS,
        embedded: bool = False,
    ) -> Self:
        """Read everything and check it whole. Raises `Misconfigured` with every problem at once.

        `env` stands for the process's environment. `services` and `backends` are the known names, where an application has its
        own. `embedded` fills in what `up` starts itself: the real API's address.
        """
        reading = Reading(cls.model_fields, services, backends)
        file = reading.dotenv(env_file)
        env = os.environ if env is None else env
        reading.guide(file, env)
        reading.toml(toml)
        reading.own(file)
        reading.own(env)
        return cls._build(reading, embedded=embedded)

    @classmethod
    def _build(cls, reading: Reading, *, embedded: bool) -> Self:
        values = {name: given.value for name, given in reading.values.items()}
        own = {name: given.value for name, given in reading.backends.items() if given.value != AUTO}
        limits = {name: {limit: given.value for limit, given in held.items()} for name, held in reading.limits.items()}
        bad: set[str] = set()
        while True:
            try:
                settings = cls(**values, backends=own, limits=limits)
                break
            except Misconfigured as error:
                if not isinstance(error.__cause__, ValidationError):
                    raise
                for detail in error.__cause__.errors(include_url=False):
                    name, *rest = map(str, detail["loc"])
                    if name == "limits":
                        backend, limit = rest[0], rest[-1]
                        if limits[backend].pop(limit, None) is not None:
                            reading.problems.append(_problem(reading.limits[backend][limit], detail))
                    elif name not in bad:
                        bad.add(name)
                        reading.problems.append(_problem(reading.values[name], detail))
                        values.pop(name, None)
        settings._placeholders = tuple(reading.placeholders)
        settings._by_default = frozenset(
            name for name, given in reading.values.items() if given.source == GUIDES_DEFAULT
        )
        given = reading.values.get("api_base_url")
        guides = given is not None and given.value == GUIDE_API and not given.source.startswith(PREFIX)
        if embedded and (settings.api_base_url is None or guides) and "api_base_url" not in bad:
            port = settings.api_port
            settings = settings.model_copy(update={"api_base_url": EMBEDDED_API.format(port=port)})
        if settings.supabase_url is None and "supabase_url" not in bad:
            settings = settings.at_local_supabase()
        comes = embedded and settings.needs_local_supabase
        unready = settings._unready(reading.services, bad, without=("supabase",) if comes else ())
        if reading.problems or unready:
            raise Misconfigured([*reading.problems, *unready])
        return settings

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The variables that hold what stands in the guide's file, such as `your-anon-key`: they count as not set."""
        return self._placeholders

    @property
    def by_default(self) -> frozenset[str]:
        """The settings that nobody wrote, and that the guide has on: they are left off where they could make an answer wrong."""
        return self._by_default

    def backend_of(self, service: str) -> str:
        """The backend that a service starts on."""
        return self.backends.get(service, self.api_mode)

    def limits_of(self, backend: str) -> Limits:
        """Every limit of a backend: its own, else what is said for all, else its kind's default."""
        limits = self.limits.get(backend)
        own = {} if limits is None else limits.model_dump(include=limits.model_fields_set)
        said = {name: getattr(self, name) for name in LIMITS if name in self.model_fields_set}
        return Limits.model_validate({**OWN.get(backend, {}), **said, **own})

    def check(self) -> None:
        """Raises `Misconfigured` where a service is on a backend that this configuration does not have."""
        if problems := self._unready(SERVICES, set()):
            raise Misconfigured(problems)

    @property
    def needs_local_supabase(self) -> bool:
        """Whether a service is on supabase, and no project is named: then `up` brings one of its own."""
        wanted = "supabase" in {self.api_mode, *self.backends.values()}
        return wanted and self.supabase_url is None

    def at_local_supabase(self, local: LocalSupabase | None = None) -> Self:
        """These settings at a local Supabase, by default the one that runs out of the home folder, if one does."""
        local = local or LocalSupabase.found(self.home)
        if local is None:
            return self
        keys = {name: getattr(local, name.removeprefix("supabase_")) for name in _KEYS}
        return self.model_copy(
            update={"supabase_url": local.url, **{name: SecretStr(value) for name, value in keys.items()}}
        )

    def _unready(self, services: Sequence[str], bad: set[str], *, without: Sequence[str] = ()) -> list[str]:
        """Who is on a backend that is not configured. `bad` names settings already complained of, `without` backends that are to come."""
        wanted: dict[str, list[str]] = {}
        for service in dict.fromkeys((*services, *self.backends)):
            wanted.setdefault(self.backend_of(service), []).append(service)
        return [
            f"{PREFIX}{field.upper()}: is not set, and {backend!r} is the backend of {', '.join(names)};"
            f" set it, or {_INSTEAD.get(field, 'choose another backend')}"
            for backend, names in wanted.items()
            for field in NEEDS.get(backend, ())
            if backend not in without and getattr(self, field) is None and field not in bad
        ]

    @property
    def seed_demo(self) -> bool:
        """Whether embedded backends get demo users and records: in development and test, never elsewhere."""
        return self.environment in ("development", "test")

    @property
    def sql_url(self) -> str:
        """The sql backend's database, with its password: a secret."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.home.absolute() / 'interlock.db'}"


_WRONG: Final = MappingProxyType(
    {
        "int_parsing": "is not a whole number",
        "int_from_float": "is not a whole number",
        "int_type": "is not a whole number",
        "float_parsing": "is not a number",
        "float_type": "is not a number",
        "finite_number": "is not a number",
        "bool_parsing": "is neither true nor false",
        "bool_type": "is neither true nor false",
        "literal_error": "is not one of the choices",
        "greater_than": "is too small",
        "greater_than_equal": "is too small",
        "less_than": "is too big",
        "less_than_equal": "is too big",
    }
)


def _spelled(detail: ErrorDetails) -> str:
    """The variable of a setting, such as `INTERLOCK_PORT` or `INTERLOCK_REAL_DEADLINE`."""
    name, *rest = map(str, detail["loc"])
    return PREFIX + "_".join(rest if name == "limits" else [name]).upper()


def _problem(given: Given, detail: ErrorDetails) -> str:
    """One line: the variable, its value (unless it may hold a secret), what is wrong, the mend."""
    name = str(detail["loc"][-1] if detail["loc"][0] == "limits" else detail["loc"][0])
    field = Settings.model_fields.get(name)
    if field is None:
        return f"{given.source}: there is no such setting{suggest(name, Settings.model_fields)}"
    guide = GUIDE.get(given.source)
    extra = field.json_schema_extra
    mend = guide.mend if guide and guide.mend else extra["mend"] if isinstance(extra, dict) else ""
    wrong = _WRONG.get(detail["type"]) or (
        detail["msg"].removeprefix("Value error, ") if detail["type"] == "value_error" else "is not of the right type"
    )
    hidden = "SecretStr" in str(field.annotation) or "@" in str(given.raw)
    return f"{given.source}: {'the value' if hidden else repr(given.raw)} {wrong}; {mend}"
