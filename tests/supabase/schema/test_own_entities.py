"""Entities that others write: reserved words for names, more fields than a function takes arguments, every kind of default."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
import msgspec
import pytest
from msgspec import Meta
from tests.supabase.schema.conftest import Project
from tests.supabase.schema.database import Database, one, operation

from interlock.backends.supabase.schema import Roles, statements
from interlock.contract import Point, Record
from interlock.entity import Entity, Unique
from interlock.identifiers import new_id
from interlock.services.policy import able
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio


class Order(Record, frozen=True, kw_only=True, rename="camel"):
    """Names that SQL keeps for itself."""

    order: Annotated[str, Meta(min_length=1)]
    user: str | None = None
    end: int = 0
    limit: Annotated[int, Meta(gt=0, lt=10, multiple_of=2)] = 2
    table: Point | None = None
    text: str = "it's"
    grant: Literal["all", "none"] = "all"
    when: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    offset: date = date(2026, 1, 2)
    desc: Decimal = Decimal("1.5")
    array: tuple[str, ...] = ("a", "b'c")
    true: bool = True
    r: float = 0.5
    n: dict[str, int] = msgspec.field(default_factory=dict)
    rows: str | None = None


ORDERS = Entity(
    Order,
    resource="group",
    searchable=("order", "user"),
    unique=(Unique("order", folded=True), Unique("rows")),
    sequence="end",
    location="table",
)

Wide: Any = msgspec.defstruct(
    "Wide",
    [(f"field_{n}", str | None, None) for n in range(130)],
    bases=(Record,),
    frozen=True,
    kw_only=True,
    rename="camel",
)
WIDE: Entity[Any] = Entity(Wide, resource="wide", searchable=("field_0",))

NOTES = Entity(Order, resource="notes", append_only=True)


@pytest.fixture(scope="module")
def own(project: Project) -> Database:
    name = project.migrated()
    project.psql(name, "postgres", statements((ORDERS, WIDE, NOTES), roles=able))
    return project.connect(name)


async def test_reserved_words_are_names_too(own: Database) -> None:
    who = new_identity("system")
    async with own.as_(who, headers=operation(new_id())) as connection:
        row = await one(connection, """insert into public."group" ("order") values ('Größe') returning *""")
    assert [row[name] for name in ("end", "limit", "text", "grant", "true", "r", "n")] == [
        1,
        2,
        "it's",
        "all",
        True,
        0.5,
        "{}",
    ]
    assert (row["when"], row["offset"], row["desc"]) == (
        datetime(2026, 1, 1, tzinfo=UTC),
        date(2026, 1, 2),
        Decimal("1.5"),
    )
    assert row["array"] == ["a", "b'c"]
    async with own.as_(who) as connection:
        changed = await one(
            connection, """update public."group" set "user" = 'u', "table" = 'SRID=4326;POINT(2 1)' returning *"""
        )
        assert (changed["version"], changed["end"]) == (2, 1)
        assert len(await connection.fetch("""select from public.group_search('grö')""")) == 1
        assert len(await connection.fetch("""select from public.group_near(1, 2, 1)""")) == 1
    image = {
        name: changed[name]
        for name in ("id", "tenant_id", "version", "order", "grant", "text", "end", "limit", "array", "true", "r")
    }
    image |= {
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "when": "2026-01-01T00:00:00Z",
    }
    image |= {"offset": "2026-01-01", "desc": 2, "n": {"a": 1}}
    async with own.as_(who) as connection:
        put = "select public.interlock_put('group', $1, 1)"
        assert json.loads(await connection.fetchval(put, json.dumps([image]))) == [{"id": image["id"], "written": True}]
        taken = json.loads(
            await connection.fetchval(
                put, json.dumps([image | {"id": new_id(), "order": "GRÖSSE"}, image | {"id": new_id()}])
            )
        )
    assert [outcome["written"] for outcome in taken] == [True, False]
    assert (taken[1]["field"], taken[1]["existing_id"]) == ("order", image["id"])


@pytest.mark.parametrize("limit", [0, 3, 10])
async def test_bounds_are_held(own: Database, limit: int) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        async with own.as_(new_identity()) as connection:
            await connection.execute("""insert into public."group" ("order", "limit") values ('x', $1)""", limit)


async def test_an_entity_may_be_wide(own: Database) -> None:
    who = new_identity()
    async with own.as_(who, headers=operation(new_id())) as connection:
        await connection.execute("insert into public.wide (field_0, field_129) values ('a', 'z')")
    async with own.as_(who) as connection:
        await connection.execute("update public.wide set field_129 = 'y'")
    entries = await own.rows(
        "select before, after from public.audit where tenant_id = $1 order by created_at", who.tenant_id
    )
    assert json.loads(entries[0]["after"])["field129"] == "z"
    assert [json.loads(entries[1][part]) for part in ("before", "after")] == [
        {"field129": "z", "version": 1},
        {"field129": "y", "version": 2},
    ]


async def test_an_append_only_row_stays(own: Database) -> None:
    who = new_identity("system")
    async with own.as_(who) as connection:
        await connection.execute("""insert into public.notes ("order") values ('x')""")
    for role in ("authenticated", "service_role"):
        for sql in (
            "update public.notes set text = 'y'",
            "update public.notes set deleted_at = now()",
            "delete from public.notes",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with own.as_(who, role=role) as connection:
                    await connection.execute(sql)


def test_nobody_at_all_may_be_a_role() -> None:
    nobody: Roles = lambda resource, action: ()  # noqa: E731 - a function of one line, where a type is wanted
    made = statements((ORDERS,), roles=nobody)
    assert "for select to authenticated\n  using (false)" in made
    assert "('group', 'list', '{}')" in made
