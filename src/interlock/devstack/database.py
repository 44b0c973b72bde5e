"""The private PostgreSQL of a stack: its cluster, and the SQL that is run in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from interlock.devstack.clock import clock_environment
from interlock.devstack.programs import Programs
from interlock.devstack.secrets import Secrets
from interlock.errors import Misconfigured, Unavailable

__all__ = ["SUPERUSER", "Cluster", "Sql", "bootstrap", "copy_database"]

_SETTINGS: Final = (
    "listen_addresses='127.0.0.1'",
    "fsync=off",
    "full_page_writes=off",
    # With fsync off, switching this off too gains nothing and delays what logical replication sees.
    "synchronous_commit=on",
    "wal_level=logical",
    "max_connections=200",
    "shared_buffers=64MB",
    "timezone='UTC'",  # as a hosted project has it; initdb took this machine's
    "log_timezone='UTC'",
)
SUPERUSER: Final = "supabase_admin"


class Cluster:
    """A cluster's folder. It is where PostgreSQL's user can reach it, which a folder below root's home is not."""

    def __init__(self, folder: Path, programs: Programs, secrets: Secrets) -> None:
        self._programs = programs
        self._secrets = secrets
        self.folder = self._reachable(folder)

    def _reachable(self, folder: Path) -> Path:
        own = folder / "postgres"
        if self._programs.user is None or all(parent.stat().st_mode & 0o001 for parent in folder.parents):
            return own
        name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"interlock-postgres-{name}"

    @property
    def exists(self) -> bool:
        """Whether the cluster has been made."""
        return (self.folder / "PG_VERSION").exists()

    @property
    def argv(self) -> tuple[str | Path, ...]:
        """The command that serves it, without the port."""
        return (self._programs.postgres / "postgres", "-D", self.folder, "-k", self.folder)

    async def make(self) -> None:
        """Make the cluster, anew. The superuser is not `postgres`, as on a hosted project."""
        self.remove()
        self.folder.mkdir(mode=0o700)
        if self._programs.user is not None:
            os.chown(self.folder, *self._programs.user)
        word = self.folder.with_suffix(".word")
        word.unlink(missing_ok=True)
        with os.fdopen(os.open(word, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self._secrets.superuser_password)
        if self._programs.user is not None:
            os.chown(word, *self._programs.user)
        initdb = (
            self._programs.postgres / "initdb", "-D", self.folder, "-U", SUPERUSER, "-A", "scram-sha-256", "-E", "UTF8",
            "--locale=C.UTF-8", "--no-sync", "--no-instructions", f"--pwfile={word}",
        )  # fmt: skip
        options: dict[str, object] = {}
        if self._programs.user is not None:
            uid, gid = self._programs.user
            options = {"user": uid, "group": gid, "extra_groups": []}
        try:
            process = await asyncio.create_subprocess_exec(
                *initdb,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **clock_environment()},
                **options,  # type: ignore[arg-type]  # the three are what subprocess takes them to be
            )
            output, _ = await process.communicate()
        finally:
            word.unlink(missing_ok=True)
        if process.returncode:
            raise Unavailable(f"initdb failed: {output.decode(errors='replace').strip()}")
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write("\n".join(("", *_SETTINGS, "")))

    def ready(self) -> bool:
        """Whether the server says that it takes connections."""
        try:
            return (self.folder / "postmaster.pid").read_text().rstrip().endswith("ready")
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the cluster."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Sql:
    """SQL run by psql, as one of the database's users."""

    def __init__(self, programs: Programs, port: int, user: str, password: str) -> None:
        self._psql = programs.postgres / "psql"
        self._port = port
        self._user = user
        self._password = password

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, with the password in it."""
        return f"postgresql://{self._user}:{self._password}@127.0.0.1:{self._port}/{database}"

    async def run(
        self,
        sql: str,
        *,
        database: str = "postgres",
        one_transaction: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run statements, all or none; answers the rows of the last as text. Raises `Misconfigured` with the database's own words."""
        argv: list[str | Path] = [
            self._psql,
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-v",
            "VERBOSITY=default",
        ]
        if one_transaction:
            argv.append("-1")
        for name, value in (variables or {}).items():
            sql = f"\\set {name} {_quoted(value)}\n{sql}"
        process = await asyncio.create_subprocess_exec(
            *argv,
            "-f",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.defpath,
                "PGHOST": "127.0.0.1",
                "PGPORT": str(self._port),
                "PGUSER": self._user,
                "PGPASSWORD": self._password,
                "PGDATABASE": database,
                "PGOPTIONS": "-c client_min_messages=warning -c statement_timeout=0",
                "PGCLIENTENCODING": "UTF8",
            },
        )
        output, errors = await process.communicate(sql.encode())
        if process.returncode:
            raise Misconfigured([_said(errors.decode(errors="replace"))])
        return output.decode().strip()


async def bootstrap(superuser: Sql, sources: Path, secrets: Secrets) -> None:
    """Make of a new cluster's database `postgres` what a hosted project's is before its first migration."""
    await superuser.run(
        "create role postgres login createrole createdb replication bypassrls password :'postgres_password';\n"
        "alter database postgres owner to postgres;",
        database="template1",
        variables={"postgres_password": secrets.postgres_password},
    )
    variables = {"authenticator_password": secrets.authenticator_password}
    await superuser.run((sources / "bootstrap.sql").read_text(), variables=variables)
    await superuser.run((sources / "realtime.sql").read_text())


async def copy_database(superuser: Sql, source: str, target: str) -> None:
    """Make `target`, anew, a copy of `source`, its settings included. Whoever is connected to either is cut off."""
    await superuser.run(
        r"""
        drop database if exists :"target" with (force);
        select pg_terminate_backend(pid) from pg_stat_activity where datname = :'source' \g /dev/null
        create database :"target" template :"source" owner postgres;
        -- The settings by database, which a copy leaves behind.
        set allow_system_table_mods = on;
        insert into pg_db_role_setting
          select made.oid, s.setrole, s.setconfig from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase, pg_database made
          where d.datname = :'source' and made.datname = :'target';
        """,
        database="template1",
        one_transaction=False,
        variables={"source": source, "target": target},
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _said(errors: str) -> str:
    return re.sub(r"psql:<stdin>:(\d+): ", r"line \1: ", errors).strip()
