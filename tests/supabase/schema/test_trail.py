"""Audit entries as the triggers write them: those that the kernel would have made of the same write."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from tests.supabase.schema.database import Database, one, operation

from interlock.contract import Point, Request, Verb
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity
from interlock.testing.samples import SAMPLES, Detail, Sample
from interlock.trail import entry_of

pytestmark = pytest.mark.anyio

VALUES: dict[str, Any] = {
    "label": 'Größe "x"\n\\ \U0001f389',
    "code": "",
    "email": "A@x.test",
    "grade": "mid",
    "rank": -7,
    "ratio": 1e21,
    "amount": Decimal("12.5"),
    "weight": Decimal("0.0001"),
    "active": False,
    "day": date(1, 1, 2),
    "happened_at": datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC),
    "marks": ("a", 'b"c', "ü"),
    "place": Point(52.52000659999, 13.404954),
    "detail": Detail("n", (1, 2)),
}


def sql_value(value: Any) -> Any:
    """The value as asyncpg takes it."""
    if isinstance(value, Point):
        return f"SRID=4326;POINT({value.lon!r} {value.lat!r})"
    if isinstance(value, tuple):
        return list(value)
    return msgspec.json.encode(value).decode() if isinstance(value, msgspec.Struct) else value


_CAST = {"place": "::text::extensions.geography", "detail": "::jsonb"}


def places(names: list[str], first: int = 1) -> list[str]:
    return [f"${n}{_CAST.get(name, '')}" for n, name in enumerate(names, first)]


def image(row: Any) -> Sample:
    """The record of a row as it came back."""
    values = {name: row[name] for name in SAMPLES.fields if name not in ("place", "detail")}
    point = row["place_point"]
    values |= {
        "marks": tuple(row["marks"]),
        "place": None if point is None else msgspec.json.decode(point, type=Point),
        "detail": None if row["detail"] is None else msgspec.json.decode(row["detail"], type=Detail),
    }
    return Sample(**values)


async def test_entries_are_the_kernels(database: Database) -> None:
    who, operation_id = new_identity(), new_id()
    names = list(VALUES)
    returned = "returning *, place_point(samples) as place_point"
    async with database.as_(who, headers=operation(operation_id, epoch="7")) as connection:
        sql = f"insert into public.samples ({', '.join(names)}) values ({', '.join(places(names))}) {returned}"
        created = image(await one(connection, sql, *(sql_value(value) for value in VALUES.values())))
    patch: dict[str, Any] = {
        **dict.fromkeys(("grade", "place", "detail", "day"), None),
        "amount": Decimal("0.1"), "marks": ("z",), "happened_at": datetime(2026, 1, 1, tzinfo=UTC), "active": True,
    }  # fmt: skip
    set_ = ", ".join(f"{name} = {place}" for name, place in zip(patch, places(list(patch), 2), strict=True))
    async with database.as_(who) as connection:
        sql = f"update public.samples set {set_} where id = $1 {returned}"
        updated = image(await one(connection, sql, created.id, *(sql_value(value) for value in patch.values())))
        sql = f"update public.samples set deleted_at = $2 where id = $1 {returned}"
    async with database.as_(who) as connection:
        deleted = image(await one(connection, sql, created.id, datetime.now(UTC)))
    async with database.as_(who) as connection:
        restored = image(await one(connection, sql, created.id, None))
    assert {name: getattr(created, name) for name in VALUES} == VALUES

    steps: list[tuple[Verb, Sample | None, Sample]] = [
        ("create", None, created),
        ("update", created, updated),
        ("delete", updated, deleted),
        ("restore", deleted, restored),
    ]
    entries = await database.rows("select * from public.audit where record_id = $1 order by created_at", created.id)
    for (verb, before, after), entry in zip(steps, entries, strict=True):
        request = Request(
            verb,
            "samples",
            who,
            operation_id=operation_id if verb == "create" else "",
            epoch=7 if verb == "create" else 0,
        )
        assert after.updated_at is not None
        wanted = entry_of(SAMPLES, request, before, after, after.updated_at, "supabase")
        found = {name: entry[name] for name in type(wanted).__struct_fields__ if name not in ("id", "before", "after")}
        assert found == {name: getattr(wanted, name) for name in found}
        for part in ("before", "after"):
            assert msgspec.json.decode(entry[part]) == msgspec.json.decode(getattr(wanted, part)), (verb, part)
            assert list(msgspec.json.decode(entry[part])) == list(msgspec.json.decode(getattr(wanted, part)))


async def test_a_statement_over_many_rows_leaves_an_entry_for_each_that_changed(database: Database) -> None:
    who = new_identity()
    async with database.as_(who) as connection:
        await connection.execute("insert into public.samples (label, rank) select 'x', n from generate_series(1, 5) n")
    async with database.as_(who) as connection:
        await connection.execute("update public.samples set rank = 3")
    entries = await database.rows("select action, before, after from public.audit where tenant_id = $1", who.tenant_id)
    assert [entry["action"] for entry in entries].count("create") == 5
    updates = [entry for entry in entries if entry["action"] == "update"]
    assert sorted(msgspec.json.decode(entry["before"])["rank"] for entry in updates) == [1, 2, 4, 5]
    assert {entry["after"] for entry in updates} == {'{"rank":3,"version":2}'}


async def test_who_has_no_user_is_the_system(database: Database) -> None:
    tenant = new_id()
    async with database.as_(None, role="service_role") as connection:
        await connection.execute("insert into public.samples (tenant_id, label) values ($1, 'x')", tenant)
    (entry,) = await database.rows(
        "select actor, created_by, operation_id, epoch from public.audit where tenant_id = $1", tenant
    )
    assert tuple(entry) == ("system", None, "", 0)


async def test_entries_wait_until_they_are_acknowledged(database: Database) -> None:
    who = new_identity("system")
    async with database.as_(who) as connection:
        await connection.execute("insert into public.samples (label) values ('a')")
    async with database.as_(who) as connection:
        pending = await connection.fetch("select * from public.interlock_pending_audit(1000)")
    mine = [entry for entry in pending if entry["tenant_id"] == who.tenant_id]
    assert [entry["action"] for entry in mine] == ["create"]
    async with database.as_(who) as connection:
        await connection.execute("select public.interlock_acknowledge_audit($1)", [entry["id"] for entry in mine])
        rest = await connection.fetch("select * from public.interlock_pending_audit(1000)")
    assert not [entry for entry in rest if entry["tenant_id"] == who.tenant_id]
    assert await database.rows("select from public.audit where id = $1", mine[0]["id"])
