"""Bringing a database to this version's tables, and seeing whether it is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from interlock.backends.sql.connections import Database, read_url
from interlock.backends.sql.failures import MIGRATE, mapped
from interlock.backends.sql.tables import Schema
from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.errors import InterlockError, Misconfigured

__all__ = ["check_schema", "migrate", "own_tables", "script_directory"]

VERSION_TABLE: Final = "interlock_version"
_LOCK: Final = 0x1E7E10C4


def config() -> Config:
    """Alembic's configuration, with the scripts of this package."""
    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    found.set_main_option("path_separator", "os")
    return found


def script_directory() -> ScriptDirectory:
    """The scripts."""
    return ScriptDirectory.from_config(config())


async def migrate(url: str, entities: Sequence[Entity[Any]] = ENTITIES, *, name: str = "sql") -> None:
    """Bring the database to this version's tables; one that is there already stays as it is.

    The tables of entities of your own are made where they are missing, with columns that were added since.
    Raises `Misconfigured` or `Unavailable`.
    """
    parsed, dialect = read_url(url)
    engine = create_async_engine(parsed, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade, Schema(entities, dialect))
    except InterlockError:
        raise
    except Exception as error:
        raise mapped(error, name) from error
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, schema: Schema) -> None:
    if connection.dialect.name == "postgresql":
        # Two processes that start at once would both make the tables.
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    alembic = config()
    alembic.attributes["connection"] = connection
    command.upgrade(alembic, "head")
    for table in own_tables(schema):
        table.create(connection, checkfirst=True)
        _add_columns(connection, table)
        _index_search(connection, table)


def own_tables(schema: Schema) -> list[Any]:
    """The tables of entities that are not Interlock's, which no script of ours knows."""
    ours = {entity.resource for entity in ENTITIES}
    return [of.table for name, of in schema.entities.items() if name not in ours]


def _add_columns(connection: Connection, table: Any) -> None:
    there = {column["name"] for column in inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in there:
            kind = column.type.compile(connection.dialect)
            quoted = connection.dialect.identifier_preparer
            connection.execute(
                text(f"alter table {quoted.quote(table.name)} add column {quoted.quote(column.name)} {kind}")
            )


def _index_search(connection: Connection, table: Any) -> None:
    has_trigrams = "select 1 from pg_extension where extname = 'pg_trgm'"
    if "_search" in table.c and connection.dialect.name == "postgresql" and connection.scalar(text(has_trigrams)):
        name = connection.dialect.identifier_preparer.quote(table.name)
        index = connection.dialect.identifier_preparer.quote(f"ix_{table.name}_search")
        connection.execute(text(f"create index if not exists {index} on {name} using gin (_search gin_trgm_ops)"))


async def check_schema(database: Database, schema: Schema) -> None:
    """Raises `Misconfigured`, naming the mend, where tables are missing or of another version."""
    head = script_directory().get_current_head()
    try:
        found = await database.read(f"select version_num from {VERSION_TABLE}", ())  # noqa: S608 - a constant
    except Misconfigured as error:
        raise Misconfigured([f"{database.name}: {MIGRATE}"]) from error
    versions = [row[0] for row in found]
    if versions != [head]:
        raise Misconfigured(
            [
                f"{database.name}: the database is at version {', '.join(versions) or 'none'}, this program at {head}: run `interlock migrate`"
            ]
        )
    for table in own_tables(schema):
        await database.read(f'select 1 from "{table.name}" limit 0', ())  # noqa: S608 - the entity's own name
