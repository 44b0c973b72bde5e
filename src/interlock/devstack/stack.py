"""The controller of a local Supabase: starts its parts, knows where they are, stops them."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from interlock.devstack.database import Cluster, bootstrap, copy_database
from interlock.devstack.keeping import Keeping
from interlock.devstack.migrations import apply_migrations
from interlock.devstack.parts import PARTS, STOPS, Part, Parts, taken
from interlock.devstack.programs import find_programs, project_folder
from interlock.devstack.secrets import Secrets
from interlock.errors import Misconfigured, Unavailable
from interlock.ports import free_port

__all__ = ["Part", "Stack", "running"]

_START_SECONDS: Final = 90.0
_GLANCE: Final = 0.02
_DATABASE: Final = "postgres"
_TEMPLATE: Final = "template_project"
_SERVING: Final[tuple[Part, ...]] = tuple(part for part in PARTS if part != "postgres")


class Stack:
    """A running local Supabase. Made by `running`."""

    def __init__(self, parts: Parts, keeping: Keeping, say: Callable[[str], None]) -> None:
        self._parts = parts
        self._keeping = keeping
        self._say = say
        self._began = time.monotonic()

    def __repr__(self) -> str:
        return f"Stack({self.url!r})"

    @property
    def url(self) -> str:
        """The URL of the project, as clients are given it."""
        return self._parts.url

    @property
    def anon_key(self) -> str:
        """The API key that every caller shows."""
        return self._parts.secrets.anon_key

    @property
    def service_key(self) -> str:
        """The API key that row-level security does not hold."""
        return self._parts.secrets.service_key

    @property
    def jwt_secret(self) -> str:
        """What users' tokens are signed with, HS256."""
        return self._parts.secrets.jwt_secret

    @property
    def database_url(self) -> str:
        """The database as its superuser, with the password."""
        return self._parts.superuser.url()

    @property
    def owner_url(self) -> str:
        """The database as `postgres`, who owns it and is no superuser: whom a hosted project gives its developers."""
        return self._parts.owner.url()

    @property
    def postgrest_url(self) -> str:
        """PostgREST itself, without the front door."""
        return f"http://127.0.0.1:{self._parts.ports['postgrest']}"

    @property
    def folder(self) -> Path:
        """Where its data, keys and logs are."""
        return self._parts.folder

    def mails(self) -> list[dict[str, Any]]:
        """The mails that were sent, oldest first: at, to, subject, text, html."""
        try:
            lines = self._mail.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line) for line in lines]

    @property
    def _mail(self) -> Path:
        return self.folder / "mails.jsonl"

    @property
    def _filled(self) -> Path:
        return self.folder / "filled"

    async def start(self, extra_sql: Sequence[str] = (), *, seed: bool = False) -> None:
        """Start every part, and make the database where there is none yet. Migrations that came since are applied."""
        new = not (self._filled.exists() and self._parts.cluster.exists)
        if new:
            self._say("making a PostgreSQL cluster")
            await self._parts.cluster.make()
        await self.start_part("postgres")
        if new:
            await bootstrap(self._parts.superuser, self._parts.programs.sources / "sql", self._parts.secrets)
        await self.start_part("gateway")  # makes the schemas auth and storage, which migrations build on
        if new:
            await self._fill(extra_sql, seed=seed)
        else:
            await self._migrate()
        await asyncio.gather(*(self.start_part(part) for part in _SERVING if part != "gateway"))
        self._say(f"ready at {self.url} after {time.monotonic() - self._began:.1f} s")

    async def _fill(self, extra_sql: Sequence[str], *, seed: bool) -> None:
        await self._migrate()
        seeds = self._parts.project / "seed.sql"
        for sql in (*extra_sql, *((seeds.read_text(),) if seed and seeds.exists() else ())):
            await self._parts.owner.run(sql)
        await copy_database(self._parts.superuser, _DATABASE, _TEMPLATE)
        self._filled.touch()

    async def _migrate(self) -> None:
        await apply_migrations(self._parts.superuser, self._parts.owner, self._parts.project, self._say)

    async def reset(self) -> None:
        """Put the database back to what it was when it was made: migrated, with `extra_sql`, and nothing else. Files and mails are gone too."""
        await asyncio.gather(*(self.stop_part(part) for part in _SERVING))
        await copy_database(self._parts.superuser, _TEMPLATE, _DATABASE)
        self._mail.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "work" / "supabase" / ".temp", ignore_errors=True)
        await asyncio.gather(*(self.start_part(part) for part in _SERVING))

    async def new_database(self, name: str) -> str:
        """The URL (as superuser) of a further database, the same as the project's was when it was made. No part serves it."""
        await copy_database(self._parts.superuser, _TEMPLATE, name)
        return self._parts.superuser.url(name)

    async def start_part(self, part: Part) -> None:
        """Start a part (again), on the port that it had, and wait until it answers."""
        command = self._parts.command(part)
        log = self.folder / "logs" / f"{part}.log"
        await self._keeping.start(part, command.argv, env=command.env, cwd=command.cwd, log=log, user=command.user)
        ends = time.monotonic() + _START_SECONDS
        while not await self._parts.answers(part):
            if await self._keeping.ended(part) or time.monotonic() > ends:
                said = log.read_text(errors="replace")[-2000:].strip()
                raise Unavailable(f"{part} did not start; the end of {log}: {said}")
            await asyncio.sleep(_GLANCE)
        self._say(f"{part} is up")

    async def stop_part(self, part: Part) -> None:
        """Stop a part and wait until it has ended."""
        await self._keeping.stop(part, STOPS.get(part, signal.SIGTERM))


@asynccontextmanager
async def running(
    folder: Path,
    *,
    project: Path | None = None,
    extra_sql: Sequence[str] = (),
    seed: bool = False,
    port: int = 0,
    trusted: Sequence[Mapping[str, Any]] = (),
    say: Callable[[str], None] | None = None,
) -> AsyncIterator[Stack]:
    """A local Supabase that runs in `folder`, which is made where it isn't there; its data stay in it.

    `project` is a folder in the layout of the official CLI (migrations/, functions/, seed.sql); by default Interlock's own. Into a new
    database go the migrations, then `extra_sql`, then with `seed` the project's seed.sql, as the owner of the database. `port` 0 takes a
    free one. `trusted` are further public keys (JWK) whose tokens are taken. `say` gets progress, a line at a time.

    Raises `Misconfigured` where a program is missing, the port is taken or a migration fails, `Unavailable` where a part does not start.
    """
    programs = find_programs()
    if port and taken(port):
        raise Misconfigured(
            [f"INTERLOCK_SUPABASE_PORT: port {port} is taken by another program; stop it, or choose another port"]
        )
    folder = folder.absolute()
    for needed in (folder / "logs", folder / "work" / "supabase"):
        needed.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)  # PostgreSQL's user must reach its own folder below
    secrets = Secrets.of(folder)
    ports = {name: free_port() for name in (*PARTS, "postgrest admin")}
    if port:
        ports["gateway"] = port
    parts = Parts(
        folder=folder,
        project=project_folder() if project is None else project.absolute(),
        programs=programs,
        secrets=secrets,
        cluster=Cluster(folder, programs, secrets),
        ports=ports,
        trusted=trusted,
    )
    keeping = Keeping()
    try:
        stack = Stack(parts, keeping, say or (lambda _: None))
        await stack.start(extra_sql, seed=seed)
        yield stack
    finally:
        await asyncio.shield(keeping.aclose())
