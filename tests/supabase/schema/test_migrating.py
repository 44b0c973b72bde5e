"""Migrations apply from empty, and from each earlier version with data in place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.supabase.schema.catalog import catalog
from tests.supabase.schema.conftest import Project, migrations
from tests.supabase.schema.database import Database

from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio

# What the check of a required field asks for, beside a text.
VALUES: Mapping[tuple[str, str], Any] = {("customers", "tags"): ["a", "b"], ("users", "email"): "a@x.test"}
INTERNAL = (
    "insert into app.tenants (id, name) values ('t', 'T')",
    "insert into app.memberships (tenant_id, user_id, role) values ('t', 'u', 'agent')",
    "insert into app.counters (tenant_id, resource, value) values ('t', 'tickets', 7)",
    "insert into app.sequences (tenant_id, resource, id, sequence) values ('t', 'tickets', 'x', 7)",
    "insert into app.operations (tenant_id, operation_id, step, fingerprint) values ('t', 'o', '0', 'f')",
)


async def fill(database: Database, tenant: str) -> dict[str, list[dict[str, Any]]]:
    """A row in each table that is there; answers all rows."""
    for sql in INTERNAL:
        await database.rows(sql)
    there = {row[0] for row in await database.rows("select tablename from pg_tables where schemaname = 'public'")}
    entities = [entity for entity in ENTITIES if entity.resource in there]
    for entity in entities:
        row = required(entity) | {"tenant_id": tenant, "id": new_id()}
        names = ", ".join(row)
        await database.rows(
            f"insert into public.{entity.resource} ({names}) select {names} from json_populate_record(null::public.{entity.resource}, $1)",
            json.dumps(row),
        )
        if not entity.append_only:
            await database.rows(f"update public.{entity.resource} set deleted_at = now() where id = $1", row["id"])
            await database.rows(f"update public.{entity.resource} set deleted_at = null where id = $1", row["id"])
    return {entity.resource: await stored(database, entity.resource) for entity in entities}


def required(entity: Entity[Any]) -> dict[str, Any]:
    """What a row of the entity must have."""
    texts = {name: "x" for name, field in entity.fields.items() if field.required and not field.server_owned}
    return texts | {name: value for (resource, name), value in VALUES.items() if resource == entity.resource}


async def stored(database: Database, resource: str) -> list[dict[str, Any]]:
    return [
        json.loads(row[0]) for row in await database.rows(f"select to_jsonb(t) from public.{resource} t order by id")
    ]


def kept(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> bool:
    """Whether each old row is there, with every value that it had."""
    rows = {row["id"]: row for row in new}
    return all(
        rows.get(row["id"], {}).items() >= {k: v for k, v in row.items() if v is not None}.items() for row in old
    )


@pytest.mark.parametrize("applied", range(len(migrations())), ids=lambda n: migrations()[n - 1].stem if n else "empty")
async def test_the_rest_applies_over_data(project: Project, applied: int) -> None:
    files = migrations()
    name = project.fresh()
    database = project.connect(name)
    project.apply(name, files[:applied])
    tenant = new_id()
    before = await fill(database, tenant) if applied else {}
    project.apply(name, files[applied:])
    for resource, rows in before.items():
        assert len(rows) >= 1
        assert kept(rows, await stored(database, resource)), resource
    assert await catalog(database) == await catalog(project.connect(project.migrated()))
    who = new_identity("admin", tenant)
    async with database.as_(who) as connection:
        assert await connection.fetchval("select count(*) from public.customers") == len(before.get("customers", ()))
        await connection.execute("insert into public.tickets (subject) values ('x')")
        numbers = await connection.fetch("select number from public.tickets order by number")
    assert [row["number"] for row in numbers] == list(range(1, len(numbers) + 1))
    members = await database.rows("select user_id, role from app.memberships where tenant_id = $1", tenant)
    assert [tuple(row) for row in members] == [(row["id"], row["role"]) for row in before.get("users", ())]
