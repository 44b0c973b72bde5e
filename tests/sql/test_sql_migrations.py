"""The shipped migrations make exactly the tables that the entities describe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

import interlock
from interlock.backends.sql import SqlBackend, migrate
from interlock.backends.sql.connections import read_url
from interlock.backends.sql.migrating import config
from interlock.backends.sql.tables import Schema
from interlock.contract import Identity, Query, Record, Request
from interlock.entities import CUSTOMERS, ENTITIES, Customer
from interlock.entity import Entity
from interlock.errors import Misconfigured
from interlock.testing.servers import PostgresServer
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

A = Any


async def on(url: str, do: Callable[[Connection], A]) -> A:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(do)
    finally:
        await engine.dispose()


async def test_migrations_equal_the_entities(url: str) -> None:
    await migrate(url)
    _, dialect = read_url(url)
    schema = Schema(ENTITIES, dialect)

    def ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        # The trigram indexes are made only where the extension is.
        return not (kind == "index" and str(name).endswith("_search")) and name != "interlock_version"

    def differences(connection: Connection) -> list[Any]:
        options = {"compare_type": True, "compare_server_default": True, "include_object": ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), schema.metadata))

    assert await on(url, differences) == []


async def test_migrating_twice_changes_nothing(
    url: str, opened: Callable[[str], Awaitable[SqlBackend]], me: Identity
) -> None:
    backend = await opened(url)
    row = check_row(CUSTOMERS, {"company_name": "Kept"})
    await backend.handle(Request("create", "customers", me, rows=(row,)))
    await migrate(url)
    assert (await backend.handle(Request("get", "customers", me, ids=(row.id,)))).rows[0].company_name == "Kept"


async def test_migrations_go_down_to_nothing(url: str) -> None:
    await migrate(url)

    def down(connection: Connection) -> list[str]:
        alembic = config()
        alembic.attributes["connection"] = connection
        command.downgrade(alembic, "base")
        return inspect(connection).get_table_names()

    assert await on(url, down) == ["interlock_version"]


async def test_processes_that_migrate_at_once_do_not_clash(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    await asyncio.gather(*(migrate(url) for _ in range(4)))
    backend = SqlBackend(url, ENTITIES)
    await backend.open()
    await backend.aclose()


async def test_search_has_a_trigram_index(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    await migrate(url)
    indexes = await on(url, lambda connection: {i["name"] for i in inspect(connection).get_indexes("customers")})
    assert "ix_customers_search" in indexes


async def test_a_database_without_tables_names_the_mend(url: str, me: Identity) -> None:
    backend = SqlBackend(url, ENTITIES)
    with pytest.raises(Misconfigured, match="interlock migrate"):
        await backend.open()
    with pytest.raises(Misconfigured, match="interlock migrate"):
        await backend.handle(Request("find", "customers", me, query=Query()))
    with pytest.raises(Misconfigured, match="interlock migrate"):
        await backend.handle(Request("create", "customers", me, rows=(check_row(CUSTOMERS, {"company_name": "x"}),)))
    await backend.aclose()


async def test_a_database_of_another_version_names_the_mend(url: str) -> None:
    await migrate(url)
    await on(url, lambda connection: connection.execute(text("update interlock_version set version_num = '0000'")))
    backend = SqlBackend(url, ENTITIES)
    with pytest.raises(Misconfigured, match=r"at version 0000.*interlock migrate"):
        await backend.open()
    await backend.aclose()


class Project(Record, frozen=True, kw_only=True, rename="camel"):
    name: str


class LaterProject(Record, frozen=True, kw_only=True, rename="camel"):
    name: str
    budget: int | None = None


async def test_an_entity_of_ones_own_gets_its_table_and_later_columns(url: str, me: Identity) -> None:
    first = Entity(Project, resource="projects", searchable=("name",))
    await migrate(url, (*ENTITIES, first))
    backend = SqlBackend(url, (*ENTITIES, first))
    await backend.open()
    row = check_row(first, {"name": "Bridge"})
    await backend.handle(Request("create", "projects", me, rows=(row,)))
    await backend.aclose()

    later = Entity(LaterProject, resource="projects", searchable=("name",))
    await migrate(url, (*ENTITIES, later))
    backend = SqlBackend(url, (*ENTITIES, later))
    await backend.open()
    found = await backend.handle(Request("find", "projects", me, query=Query(search="bridge")))
    assert [(r.name, r.budget) for r in found.rows] == [("Bridge", None)]
    await backend.aclose()


async def test_an_entity_without_its_table_names_the_mend(url: str) -> None:
    await migrate(url)
    backend = SqlBackend(url, (*ENTITIES, Entity(Project, resource="projects")))
    with pytest.raises(Misconfigured, match="interlock migrate"):
        await backend.open()
    await backend.aclose()


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "customers.db",
        "mysql://host/x",
        "sqlite+aiosqlite://",
        "sqlite+aiosqlite:///:memory:",
        "oracle://u:hush@h/x",
    ],
)
async def test_a_wrong_url_names_the_mend_and_hides_the_password(wrong: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        SqlBackend(wrong, ENTITIES)
    assert "sqlite+aiosqlite://" in str(caught.value)
    assert "hush" not in str(caught.value)


async def test_rows_come_back_as_they_went(
    url: str, opened: Callable[[str], Awaitable[SqlBackend]], me: Identity
) -> None:
    backend = await opened(url)
    row = check_row(CUSTOMERS, {"company_name": "Ünïcode 💡 %_\\", "tags": ("a,b", '"', "{}", ""[:0] or "NULL")})
    written = (await backend.handle(Request("create", "customers", me, rows=(row,)))).outcomes[0].row
    assert isinstance(written, Customer)
    assert written.tags == row.tags
    assert (await backend.handle(Request("get", "customers", me, ids=(row.id,)))).rows == (written,)
    assert msgspec.json.decode(msgspec.json.encode(written), type=Customer) == written


async def test_the_folder_of_migrations_is_in_the_package() -> None:
    assert Path(str(config().get_main_option("script_location"))).is_relative_to(Path(str(interlock.__file__)).parent)
