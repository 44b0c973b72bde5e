"""A PostgreSQL with what a hosted Supabase project has before its first migration."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.supabase.schema.database import HERE, ROOT, Database

from interlock.backends.supabase.schema import statements
from interlock.services.policy import able
from interlock.testing.samples import TEST_ENTITIES
from interlock.testing.servers import PostgresServer, ServerMissing, postgres_programs

PROJECT = ROOT / "supabase"


class Project:
    """A server of its own, and databases made from it: empty projects, or projects with the migrations applied."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        server.execute(
            "create role postgres login createrole createdb bypassrls",
            "create role supabase_admin superuser login",
        )
        self.empty = self._made(None)
        self.psql(self.empty, "supabase_admin", (ROOT / "devstack" / "sql" / "bootstrap.sql").read_text(), password="x")
        self.psql(self.empty, "supabase_admin", (HERE / "hosted.sql").read_text())
        self._migrated: str | None = None

    def _made(self, template: str | None) -> str:
        name = self._server.new_database(template).rsplit("/", 1)[1]
        self._server.execute(f'alter database "{name}" owner to postgres')
        return name

    def psql(self, database: str, user: str, sql: str, *, password: str = "") -> None:
        """Run SQL in one transaction, as somebody."""
        if password:
            sql = f"\\set authenticator_password {password}\n{sql}"
        where = ("-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self._server.port))
        command = (str(postgres_programs() / "psql"), *where, "-U", user, "-d", database, "-f", "-")
        environment = {"PATH": os.environ["PATH"], "PGOPTIONS": "-c client_min_messages=warning"}
        done = subprocess.run(command, input=sql, text=True, capture_output=True, env=environment)
        assert not done.returncode, done.stderr

    def apply(self, database: str, files: Sequence[Path]) -> None:
        """Run files in order, each in a transaction of its own, as the owner, who is no superuser."""
        for path in files:
            self.psql(database, "postgres", path.read_text())

    def fresh(self) -> str:
        """A new empty project."""
        return self._made(self.empty)

    def migrated(self) -> str:
        """A new project with all migrations applied."""
        if self._migrated is None:
            self._migrated = self.fresh()
            self.apply(self._migrated, migrations())
        return self._made(self._migrated)

    def connect(self, database: str) -> Database:
        """Talk to a database as whoever one likes."""
        return Database(self._server.port, database)


def migrations() -> list[Path]:
    """The migrations, in order."""
    return sorted((PROJECT / "migrations").glob("*.sql"))


def schemas() -> list[Path]:
    """The schema files, in order."""
    return sorted((PROJECT / "schemas").glob("*.sql"))


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    try:
        server = PostgresServer(["wal_level=logical", "timezone=UTC"])
    except ServerMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with server:
        yield Project(server)


@pytest.fixture(scope="session")
def database(project: Project) -> Database:
    """A migrated project with the tables of the suite's entities. Each test has a tenant of its own in it."""
    name = project.migrated()
    project.psql(name, "postgres", statements(TEST_ENTITIES, roles=able))
    return project.connect(name)
