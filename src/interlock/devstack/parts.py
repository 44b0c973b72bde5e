"""The parts of a stack: what each is started with, and how it shows that it is up."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

from interlock.devstack.clock import clock_environment
from interlock.devstack.database import SUPERUSER, Cluster, Sql
from interlock.devstack.programs import Programs
from interlock.devstack.secrets import Secrets
from interlock.ports import free_port

__all__ = ["PARTS", "STOPS", "Command", "Part", "Parts", "free_port", "status", "taken"]

Part = Literal["postgres", "gateway", "postgrest", "relay", "functions"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
STOPS: Final[Mapping[Part, signal.Signals]] = {"postgres": signal.SIGINT}
"""What else than SIGTERM ends a part: SIGINT breaks PostgreSQL's connections, and keeps the data."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a part is started. `user` is set where it must not be the one we are."""

    argv: tuple[str | Path, ...]
    env: Mapping[str, str]
    cwd: Path
    user: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the parts of one stack need to know of it and of each other."""

    folder: Path
    project: Path
    programs: Programs
    secrets: Secrets
    cluster: Cluster
    ports: Mapping[str, int]
    trusted: Sequence[Mapping[str, Any]]

    @property
    def url(self) -> str:
        """The front door."""
        return f"http://127.0.0.1:{self.ports['gateway']}"

    @property
    def superuser(self) -> Sql:
        """SQL as the superuser."""
        return Sql(self.programs, self.ports["postgres"], SUPERUSER, self.secrets.superuser_password)

    @property
    def owner(self) -> Sql:
        """SQL as `postgres`, who owns the database and is no superuser."""
        return Sql(self.programs, self.ports["postgres"], "postgres", self.secrets.postgres_password)

    async def answers(self, part: Part) -> bool:
        """Whether a part is up."""
        match part:
            case "postgres":
                return self.cluster.ready()
            case "postgrest":
                return await status(self.ports["postgrest admin"], "/ready") == 200
            case "gateway":
                return await status(self.ports[part], "/auth/v1/health") == 200
            case "relay":
                return await status(self.ports[part], "/realtime/v1/health") == 200
            case "functions":
                return await status(self.ports[part], "/functions/v1/_health") == 200

    def command(self, part: Part) -> Command:
        """How a part is started."""
        match part:
            case "postgres":
                argv = (*self.cluster.argv, "-p", str(self.ports[part]))
                return Command(argv, self._env(HOME=str(self.cluster.folder)), Path("/"), self.programs.user)
            case "postgrest":
                return Command((self.programs.postgrest,), self._env(**self._postgrest()), self._work)
            case "gateway":
                # lite leaves the closing of downloaded files to the garbage collector, and Node would say so at each.
                argv = (self.programs.node, "--disable-warning=DEP0137", "--no-warnings", self._source("gateway"))
                return Command(argv, self._env(**self._common(), **self._gateway()), self._work)
            case "relay":
                argv = (self.programs.node, self._source("relay"))
                return Command(argv, self._env(**self._common(), STACK_PORT=str(self.ports[part])), self._work)
            case "functions":
                return self._functions()

    @property
    def _work(self) -> Path:
        return self.folder / "work"

    def _source(self, name: str) -> Path:
        return self.programs.sources / name / "main.mjs"

    def _env(self, **more: str) -> dict[str, str]:
        path = f"{self.programs.node.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": str(self.folder), **clock_environment(), **more}

    def _common(self) -> dict[str, str]:
        return {
            "STACK_DATABASE_URL": self.superuser.url(),
            "STACK_JWT_SECRET": self.secrets.jwt_secret,
            "STACK_TRUSTED": json.dumps(list(self.trusted)),
            "STACK_ANON_KEY": self.secrets.anon_key,
            "STACK_SERVICE_KEY": self.secrets.service_key,
            "STACK_SITE": self.url,
        }

    def _gateway(self) -> dict[str, str]:
        return {
            "STACK_PORT": str(self.ports["gateway"]),
            "STACK_REST_PORT": str(self.ports["postgrest"]),
            "STACK_RELAY_PORT": str(self.ports["relay"]),
            "STACK_FUNCTIONS_PORT": str(self.ports["functions"]),
            "STACK_LITE_PUBLISHABLE_KEY": self.secrets.lite_publishable_key,
            "STACK_LITE_SECRET_KEY": self.secrets.lite_secret_key,
            "STACK_MAILS": str(self.folder / "mails.jsonl"),
            "EXPERIMENTAL_STORAGE": "1",
            "LITE_TELEMETRY": "0",
            "DO_NOT_TRACK": "1",
        }

    def _postgrest(self) -> dict[str, str]:
        octets = base64.urlsafe_b64encode(self.secrets.jwt_secret.encode()).rstrip(b"=").decode()
        keys = [{"kty": "oct", "k": octets, "alg": "HS256"}, *self.trusted]
        authenticator = Sql(self.programs, self.ports["postgres"], "authenticator", self.secrets.authenticator_password)
        return {
            "PGRST_DB_URI": authenticator.url(),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public,extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_CONFIG": "true",  # so that `alter role authenticator set pgrst.…` counts, as on a hosted project
            "PGRST_JWT_SECRET": json.dumps({"keys": keys}),
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self.ports["postgrest"]),
            "PGRST_ADMIN_SERVER_PORT": str(self.ports["postgrest admin"]),
            "PGRST_LOG_LEVEL": "error",
        }

    def _functions(self) -> Command:
        sources = self.programs.sources / "functions"
        argv = (
            self.programs.deno, "run", "--quiet", "--no-prompt", "--no-remote", "--cached-only", "--no-lock", "--node-modules-dir=manual",
            f"--config={sources / 'deno.json'}", "--allow-net=127.0.0.1", "--allow-env", "--allow-read", sources / "main.ts",
        )  # fmt: skip
        env = self._env(
            STACK_PORT=str(self.ports["functions"]),
            STACK_FUNCTIONS=str(self.project / "functions"),
            SUPABASE_URL=self.url,
            SUPABASE_ANON_KEY=self.secrets.anon_key,
            SUPABASE_SERVICE_ROLE_KEY=self.secrets.service_key,
            SUPABASE_DB_URL=self.owner.url(),
            DENO_NO_UPDATE_CHECK="1",
        )
        return Command(argv, env, self._work)


def taken(port: int) -> bool:
    """Whether somebody listens on this port of the loopback."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


async def status(port: int, path: str) -> int | None:
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
