"""Exact images, and who may put them."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from tests.supabase.schema.database import Database

from interlock.contract import Identity
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio


def image(who: Identity, **values: Any) -> dict[str, Any]:
    """A whole row as another backend might have it."""
    return {
        "id": new_id(), "tenant_id": who.tenant_id, "created_at": "2020-01-02T03:04:05.678901Z", "updated_at": "2021-01-02T03:04:05.678901Z",
        "created_by": "somebody", "updated_by": None, "version": 7, "deleted_at": None, "number": 40, "label": "image", "code": None,
        "email": None, "body_text": None, "grade": None, "rank": 3, "ratio": None, "amount": "1.5", "currency": "EUR", "weight": None,
        "active": None, "day": "2020-02-29", "happened_at": None, "marks": ["a", "b"], "place": "SRID=4326;POINT(13.4 52.5)",
        "detail": {"note": "n"}, "parent_id": None, **values,
    }  # fmt: skip


async def put(database: Database, who: Identity, *rows: dict[str, Any], sequence: int = 1) -> list[dict[str, Any]]:
    async with database.as_(who) as connection:
        found = await connection.fetchval(
            "select public.interlock_put('samples', $1, $2)", json.dumps(list(rows)), sequence
        )
    answer: list[dict[str, Any]] = json.loads(found)
    return answer


async def one(database: Database, id: str) -> dict[str, Any]:
    (row,) = await database.rows(
        "select to_jsonb(s) - 'search_text' || jsonb_build_object('place', app.lat_lon(place)) from public.samples s where id = $1",
        id,
    )
    found: dict[str, Any] = json.loads(row[0])
    return found


async def test_an_image_is_written_as_it_is(database: Database) -> None:
    who = new_identity("system")
    row = image(who)
    assert await put(database, who, row) == [{"id": row["id"], "written": True}]
    found = await one(database, row["id"])
    wanted = {**row, "amount": 1.5, "place": {"lat": 52.5, "lon": 13.4}}
    wanted |= {name: row[name].replace("Z", "+00:00") for name in ("created_at", "updated_at")}
    assert found == wanted
    assert not await database.rows("select from public.audit where tenant_id = $1", who.tenant_id)
    changes = await database.rows("select kind, version from public.changes where tenant_id = $1", who.tenant_id)
    assert [tuple(change) for change in changes] == [("created", 7)]


async def test_a_lower_or_equal_sequence_writes_nothing(database: Database) -> None:
    who = new_identity("system")
    row = image(who)
    assert [(await put(database, who, row, sequence=n))[0]["written"] for n in (0, 5, 4, 5, 6)] == [
        False,
        True,
        False,
        False,
        True,
    ]
    late = {**row, "label": "late"}
    await put(database, who, late, sequence=6)
    assert (await one(database, row["id"]))["label"] == "image"


async def test_a_put_over_a_row_of_our_own(database: Database) -> None:
    who = new_identity("system")
    async with database.as_(who) as connection:
        record_id = await connection.fetchval("insert into public.samples (label) values ('own') returning id")
    gone = image(who, id=record_id, version=2, deleted_at="2022-01-01T00:00:00Z")
    await put(database, who, gone)
    back = {**gone, "version": 2, "deleted_at": None}
    await put(database, who, back, sequence=2)
    kinds = await database.rows(
        "select kind, version from public.changes where record_id = $1 order by position", record_id
    )
    assert [tuple(kind) for kind in kinds] == [("created", 1), ("deleted", 2), ("updated", 2)]


async def test_unique_values_hold_and_the_others_are_written(database: Database) -> None:
    who = new_identity("system")
    async with database.as_(who) as connection:
        taken = await connection.fetchval(
            "insert into public.samples (label, email, code) values ('x', 'A@x.test', '1') returning id"
        )
    rows = [
        image(who, email="a@X.test"),
        image(who),
        image(who, code="1"),
        image(who, code="1", deleted_at="2022-01-01T00:00:00Z"),
    ]
    outcomes = await put(database, who, *rows)
    assert outcomes == [
        {"id": rows[0]["id"], "written": False, "field": "email", "existing_id": taken},
        {"id": rows[1]["id"], "written": True},
        {"id": rows[2]["id"], "written": False, "field": "code", "existing_id": taken},
        {"id": rows[3]["id"], "written": True},
    ]
    # A refused image leaves its sequence as it was.
    assert (await put(database, who, {**rows[0], "email": None}))[0]["written"]


async def test_the_counter_follows(database: Database) -> None:
    who = new_identity("system")
    for number, following in ((40, 41), (12, 42)):
        await put(database, who, image(who, number=number))
        async with database.as_(who) as connection:
            assert (
                await connection.fetchval("insert into public.samples (label) values ('x') returning number")
                == following
            )


async def test_an_entry_of_the_trail_is_put_once(database: Database) -> None:
    who = new_identity("system")
    entry = {
        "id": new_id(), "tenant_id": who.tenant_id, "created_at": "2020-01-02T03:04:05Z", "updated_at": "2020-01-02T03:04:05Z",
        "version": 1, "actor": "a", "action": "create", "target": "t", "record_id": "r", "before": "{}", "after": "{}",
        "backend": "sql", "epoch": 0, "operation_id": "",
    }  # fmt: skip
    for sequence, text in ((1, "{}"), (2, "forged")):
        async with database.as_(who) as connection:
            rows = json.dumps([{**entry, "after": text}])
            await connection.fetchval("select public.interlock_put('audit', $1, $2)", rows, sequence)
    (found,) = await database.rows("select after from public.audit where tenant_id = $1", who.tenant_id)
    assert found["after"] == "{}"
    assert not await database.rows("select from app.pending_audit where tenant_id = $1", who.tenant_id)


async def test_another_tenants_image_is_refused(database: Database) -> None:
    who, other = new_identity("system"), new_identity("system")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await put(database, who, image(who), image(other))
    assert not await database.rows(
        "select from public.samples where tenant_id = any ($1)", [who.tenant_id, other.tenant_id]
    )


@pytest.mark.parametrize(
    "sql",
    [
        "select public.interlock_put('samples', '[]', 1)",
        "select public.interlock_pending_audit(10)",
        "select public.interlock_acknowledge_audit('{}')",
        "select app.samples_put('[]', 1)",
        "select app.raise_counter('samples', 't', 9)",
        "select app.keep_images('[]')",
    ],
)
async def test_only_the_system_may(database: Database, sql: str) -> None:
    for role in ("admin", "manager", "agent", "viewer"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.as_(new_identity(role)) as connection:
                await connection.execute(sql)


async def test_what_is_no_resource_cannot_be_put(database: Database) -> None:
    async with database.as_(new_identity("system")) as connection:
        with pytest.raises(asyncpg.PostgresError, match="unknown_resource"):
            await connection.execute("select public.interlock_put('pg_class', '[]', 1)")
