"""The controller of a local Supabase: starts its parts, knows where they are, stops them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from interlock.devstack.database import DATABASE, SUPERUSER, Cluster, Sql
from interlock.devstack.keeping import Keeping
from interlock.devstack.migrations import apply_migrations
from interlock.devstack.programs import Programs, find_programs, project_folder
from interlock.devstack.secrets import Secrets
from interlock.errors import Misconfigured, Unavailable

__all__ = ["PARTS", "Part", "Stack", "running"]

Part = Literal["postgres", "gateway", "postgrest", "relay", "functions"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
_START_SECONDS: Final = 90.0
_GLANCE: Final = 0.02
_STOPS: Final[Mapping[str, signal.Signals]] = {"postgres": signal.SIGINT}  # connections are broken, data kept


class Stack:
    """A running local Supabase. Made by `running`."""

    def __init__(
        self,
        folder: Path,
        programs: Programs,
        secrets: Secrets,
        keeping: Keeping,
        *,
        port: int,
        project: Path,
        trusted: Sequence[Mapping[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self._programs = programs
        self._secrets = secrets
        self._keeping = keeping
        self._project = project
        self._trusted = trusted
        self._say = say
        self._ports: dict[str, int] = {name: free_port() for name in (*PARTS, "postgrest admin")}
        if port:
            self._ports["gateway"] = port
        self._cluster = Cluster(folder, programs, secrets)
        self._superuser = Sql(programs, self._ports["postgres"], SUPERUSER, secrets.superuser_password)
        self._owner = Sql(programs, self._ports["postgres"], "postgres", secrets.postgres_password)
        self._began = time.monotonic()

    def __repr__(self) -> str:
        return f"Stack({self.url!r})"

    @property
    def url(self) -> str:
        """The URL of the project, as clients are given it."""
        return f"http://127.0.0.1:{self._ports['gateway']}"

    @property
    def anon_key(self) -> str:
        """The API key that callers show."""
        return self._secrets.anon_key

    @property
    def service_key(self) -> str:
        """The API key that row-level security does not hold."""
        return self._secrets.service_key

    @property
    def jwt_secret(self) -> str:
        """What user tokens are signed with, HS256."""
        return self._secrets.jwt_secret

    @property
    def database_url(self) -> str:
        """The database as its superuser, with the password."""
        return self._superuser.url()

    @property
    def owner_url(self) -> str:
        """The database as `postgres`, who owns it and is no superuser: whom a hosted project gives its developers."""
        return self._owner.url()

    @property
    def postgrest_url(self) -> str:
        """PostgREST itself, without the front door."""
        return f"http://127.0.0.1:{self._ports['postgrest']}"

    def mails(self) -> list[dict[str, Any]]:
        """The mails that were sent, oldest first: at, to, subject, text, html."""
        try:
            lines = (self.folder / "mails.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line) for line in lines]

    async def start(self, extra_sql: Sequence[str]) -> None:
        """Start every part; make the database where there is none yet."""
        fresh = not self._cluster.exists
        if fresh:
            self._say("making a PostgreSQL cluster")
            await self._cluster.make()
        await self.start_part("postgres")
        if fresh:
            await self._bootstrap()
        await asyncio.gather(*(self.start_part(part) for part in PARTS if part not in ("postgres", "postgrest")))
        if fresh:
            await self._superuser.run((self._programs.sources / "sql" / "auth.sql").read_text())
        await apply_migrations(self._superuser, self._owner, self._project, self._say)
        for sql in extra_sql:
            await self._owner.run(sql)
        await self.start_part("postgrest")
        self._say(f"ready at {self.url} after {time.monotonic() - self._began:.1f} s")

    async def _bootstrap(self) -> None:
        secrets = self._secrets
        await self._superuser.run(
            "create role postgres login createrole createdb replication bypassrls password :'postgres_password';\n"
            f"alter database {DATABASE} owner to postgres;",
            database="template1",
            variables={"postgres_password": secrets.postgres_password},
        )
        await self._superuser.run(
            (self._programs.sources / "sql" / "bootstrap.sql").read_text(),
            variables={"authenticator_password": secrets.authenticator_password},
        )

    async def start_part(self, part: Part) -> None:
        """Start a part (again), on the port that it had, and wait until it answers."""
        argv, env, user = self._command(part)
        log = self.folder / "logs" / f"{part}.log"
        await self._keeping.start(
            part, argv, env=env, cwd=self.folder / "work" if user is None else Path("/"), log=log, user=user
        )
        ends = time.monotonic() + _START_SECONDS
        while not await self._answers(part):
            if await self._keeping.ended(part) or time.monotonic() > ends:
                said = log.read_text(errors="replace")[-2000:].strip()
                raise Unavailable(f"{part} did not start; the end of {log}: {said}")
            await asyncio.sleep(_GLANCE)
        self._say(f"{part} is up")

    async def stop_part(self, part: Part) -> None:
        """Stop a part and wait until it has ended."""
        await self._keeping.stop(part, _STOPS.get(part, signal.SIGTERM))

    async def _answers(self, part: Part) -> bool:
        match part:
            case "postgres":
                return self._cluster.ready()
            case "postgrest":
                return await _status(self._ports["postgrest admin"], "/ready") == 200
            case "gateway":
                return await _status(self._ports["gateway"], "/auth/v1/health") == 200
            case "relay":
                return await _status(self._ports["relay"], "/health") == 200
            case "functions":
                return await _status(self._ports["functions"], "/functions/v1/_health") == 200

    def _command(self, part: Part) -> tuple[Sequence[str | Path], Mapping[str, str], tuple[int, int] | None]:
        programs, ports = self._programs, {name: str(port) for name, port in self._ports.items()}
        plain = {
            "PATH": f"{programs.node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LC_ALL": "C.UTF-8",
            "HOME": str(self.folder),
        }
        match part:
            case "postgres":
                return (
                    (*self._cluster.argv, "-p", ports[part]),
                    {**plain, "HOME": str(self._cluster.folder)},
                    programs.user,
                )
            case "postgrest":
                return (programs.postgrest,), {**plain, **self._postgrest_settings()}, None
            case "gateway":
                environment = {
                    **plain,
                    **self._common(),
                    "STACK_PORT": ports["gateway"],
                    "STACK_REST_PORT": ports["postgrest"],
                    "STACK_RELAY_PORT": ports["relay"],
                    "STACK_FUNCTIONS_PORT": ports["functions"],
                    "STACK_LITE_PUBLISHABLE_KEY": self._secrets.lite_publishable_key,
                    "STACK_LITE_SECRET_KEY": self._secrets.lite_secret_key,
                    "STACK_MAILS": str(self.folder / "mails.jsonl"),
                    "EXPERIMENTAL_STORAGE": "1",
                    "LITE_TELEMETRY": "0",
                    "DO_NOT_TRACK": "1",
                }
                return (
                    (programs.node, "--disable-warning=DEP0137", programs.sources / "gateway" / "main.mjs"),
                    environment,
                    None,
                )
            case "relay":
                return (
                    (programs.node, programs.sources / "relay" / "main.mjs"),
                    {**plain, **self._common(), "STACK_PORT": ports["relay"]},
                    None,
                )
            case "functions":
                return self._functions(plain, ports["functions"])

    def _common(self) -> dict[str, str]:
        return {
            "STACK_DATABASE_URL": self.database_url,
            "STACK_JWT_SECRET": self.jwt_secret,
            "STACK_ANON_KEY": self.anon_key,
            "STACK_SERVICE_KEY": self.service_key,
            "STACK_SITE": self.url,
        }

    def _postgrest_settings(self) -> dict[str, str]:
        secret = self._secrets
        authenticator = Sql(self._programs, self._ports["postgres"], "authenticator", secret.authenticator_password)
        return {
            "PGRST_DB_URI": authenticator.url(),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_CONFIG": "true",  # so that `alter role authenticator set pgrst.…` counts, as on a hosted project
            "PGRST_JWT_SECRET": _jwks(secret.jwt_secret, self._trusted),
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self._ports["postgrest"]),
            "PGRST_ADMIN_SERVER_PORT": str(self._ports["postgrest admin"]),
            "PGRST_LOG_LEVEL": "error",
        }

    def _functions(
        self, plain: Mapping[str, str], port: str
    ) -> tuple[Sequence[str | Path], Mapping[str, str], tuple[int, int] | None]:
        sources = self._programs.sources
        argv = (
            self._programs.deno, "run", "--quiet", "--no-prompt", "--no-remote", "--cached-only", "--no-lock", "--node-modules-dir=manual",
            f"--config={sources / 'functions' / 'deno.json'}", "--allow-net=127.0.0.1", "--allow-env", "--allow-read",
            sources / "functions" / "main.ts",
        )  # fmt: skip
        environment = {
            **plain,
            "STACK_PORT": port,
            "STACK_FUNCTIONS": str(self._project / "functions"),
            "SUPABASE_URL": self.url,
            "SUPABASE_ANON_KEY": self.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_key,
            "SUPABASE_DB_URL": self.owner_url,
            "DENO_NO_UPDATE_CHECK": "1",
        }
        return argv, environment, None


def _jwks(secret: str, trusted: Sequence[Mapping[str, Any]]) -> str:
    octets = base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()
    return json.dumps({"keys": [{"kty": "oct", "k": octets, "alg": "HS256"}, *trusted]})


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _taken(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


async def _status(port: int, path: str) -> int | None:
    """The status that a server of the loopback answers with, None where nobody does."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/") else None
    except (OSError, IndexError, ValueError):
        return None
    finally:
        writer.close()


@asynccontextmanager
async def running(
    folder: Path,
    *,
    project: Path | None = None,
    extra_sql: Sequence[str] = (),
    port: int = 0,
    trusted: Sequence[Mapping[str, Any]] = (),
    say: Callable[[str], None] | None = None,
) -> AsyncIterator[Stack]:
    """A local Supabase that runs in `folder`, which is made where it isn't there; its data stay in it.

    `project` is a folder in the layout of the official CLI (migrations/, functions/); by default Interlock's own. `extra_sql` is run after the migrations,
    as the owner of the database. `port` 0 takes a free one. `trusted` are further public keys (JWK) whose tokens PostgREST takes. `say` gets progress, a line
    at a time. Raises `Misconfigured` where a program is missing, the port is taken or a migration fails, `Unavailable` where a part does not start.
    """
    programs = find_programs()
    if port and _taken(port):
        raise Misconfigured(
            [f"INTERLOCK_SUPABASE_PORT: port {port} is taken by another program; stop it, or choose another port"]
        )
    folder = folder.absolute()
    for needed in (folder / "logs", folder / "work" / "supabase"):
        needed.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user must reach its own folder below
    keeping = await Keeping.open()
    try:
        chosen = project_folder() if project is None else project
        stack = Stack(
            folder,
            programs,
            Secrets.of(folder),
            keeping,
            port=port,
            project=chosen,
            trusted=trusted,
            say=say or (lambda _: None),
        )
        await stack.start(extra_sql)
        yield stack
    finally:
        with contextlib.suppress(Unavailable):
            await keeping.aclose()
