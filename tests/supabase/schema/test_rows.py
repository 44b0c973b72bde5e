"""What the triggers make of plain writes: who, when, versions, soft deletes, numbers; and what nobody may forge."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import asyncpg
import pytest
from tests.supabase.schema.database import Database, one

from interlock.contract import Identity, Role
from interlock.entities.user import UserRole
from interlock.identifiers import is_id, new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio

DENIED = asyncpg.InsufficientPrivilegeError


async def add(database: Database, who: Identity, **values: Any) -> asyncpg.Record:
    """A new sample, as it came back."""
    values = {"label": "x", **values}
    names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
    async with database.as_(who) as connection:
        return await one(
            connection, f"insert into public.samples ({names}) values ({places}) returning *", *values.values()
        )


async def change(database: Database, who: Identity, sql: str, *values: Any) -> list[asyncpg.Record]:
    """What an update of samples answered."""
    async with database.as_(who) as connection:
        return list(await connection.fetch(f"update public.samples set {sql} returning *", *values))


@pytest.mark.clock
async def test_a_new_row_is_stamped(database: Database) -> None:
    who = new_identity()
    before = datetime.now(UTC)
    row = await add(database, who)
    assert is_id(row["id"])
    assert (row["tenant_id"], row["created_by"], row["updated_by"]) == (who.tenant_id, who.user_id, who.user_id)
    assert before <= row["created_at"] == row["updated_at"] <= datetime.now(UTC)
    assert (row["version"], row["deleted_at"], row["number"]) == (1, None, 1)
    assert (row["currency"], row["marks"]) == ("EUR", [])


@pytest.mark.clock
async def test_an_accepted_change_moves_the_version(database: Database) -> None:
    who, colleague = new_identity(), None
    row = await add(database, who)
    colleague = new_identity("agent", who.tenant_id)
    (changed,) = await change(database, colleague, "rank = 5 where id = $1", row["id"])
    assert (changed["version"], changed["rank"], changed["updated_by"]) == (2, 5, colleague.user_id)
    assert changed["updated_at"] > row["updated_at"]
    assert [changed[n] for n in ("id", "created_at", "created_by", "number")] == [
        row[n] for n in ("id", "created_at", "created_by", "number")
    ]


@pytest.mark.parametrize(
    "same",
    [
        "label = label",
        "deleted_at = null",
        "amount = 1.50",
        "place = 'SRID=4326;POINT(13.4 52.5)'",
        'detail = \'{"sizes": [1], "note": "n"}\'',
    ],
)
async def test_a_change_of_nothing_leaves_the_version(database: Database, same: str) -> None:
    who = new_identity()
    place, detail = "SRID=4326;POINT(13.4 52.5)", '{"note": "n", "sizes": [1]}'
    async with database.as_(who) as connection:
        row = await one(
            connection,
            f"insert into public.samples (label, amount, place, detail) values ('x', 1.5, '{place}', '{detail}') returning *",
        )
    (found,) = await change(database, who, f"{same} where id = $1", row["id"])
    assert found == row
    assert len(await database.rows("select from public.audit where record_id = $1", row["id"])) == 1
    assert len(await database.rows("select from public.changes where record_id = $1", row["id"])) == 1


@pytest.mark.clock
async def test_delete_and_restore(database: Database) -> None:
    who = new_identity()
    row = await add(database, who, code="1")
    (gone,) = await change(database, who, "deleted_at = '1999-01-01' where id = $1", row["id"])
    assert gone["deleted_at"] == gone["updated_at"] > row["created_at"]
    assert gone["version"] == 2
    assert await change(database, who, "deleted_at = now() where id = $1", row["id"]) == []
    assert await change(database, who, "label = 'y', deleted_at = deleted_at where id = $1", row["id"]) == []
    assert await change(database, who, "label = 'y' where id = $1", row["id"]) == []
    (back,) = await change(database, who, "deleted_at = null where id = $1", row["id"])
    assert (back["version"], back["deleted_at"], back["label"]) == (3, None, "x")
    changes = await database.rows(
        "select kind, version from public.changes where record_id = $1 order by position", row["id"]
    )
    assert [tuple(change) for change in changes] == [("created", 1), ("deleted", 2), ("restored", 3)]


async def test_a_deleted_row_frees_its_unique_value_and_cannot_take_it_back(database: Database) -> None:
    who = new_identity()
    row = await add(database, who, email="Ä@x.test")
    with pytest.raises(asyncpg.UniqueViolationError) as found:
        await add(database, who, email="ä@X.test")
    assert found.value.constraint_name == "samples_email_key"
    await change(database, who, "deleted_at = now() where id = $1", row["id"])
    await add(database, who, email="ä@X.test")
    with pytest.raises(asyncpg.UniqueViolationError):
        await change(database, who, "deleted_at = null where id = $1", row["id"])


@pytest.mark.parametrize(
    "column",
    [
        "tenant_id",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "version",
        "deleted_at",
        "number",
        "search_text",
    ],
)
async def test_nobody_writes_a_server_owned_column_of_a_new_row(database: Database, column: str) -> None:
    with pytest.raises((DENIED, asyncpg.GeneratedAlwaysError)):
        await add(database, new_identity("system"), **{column: None})


@pytest.mark.parametrize(
    "column", ["id", "tenant_id", "created_at", "updated_at", "created_by", "updated_by", "version", "number"]
)
async def test_nobody_writes_a_server_owned_column_of_a_row(database: Database, column: str) -> None:
    who = new_identity("system")
    await add(database, who)
    with pytest.raises(DENIED):
        await change(database, who, f"{column} = {column}")


@pytest.mark.parametrize(
    "forged",
    [
        "set_config('app.tenant', '{tenant}', true)",
        "set_config('app.user', '{tenant}', true)",
        "set_config('app.putting', 'on', true)",
    ],
)
async def test_the_settings_of_the_triggers_forge_nothing(database: Database, forged: str) -> None:
    """PostgREST lets nobody call set_config; one who could would still get nowhere."""
    who, other = new_identity(), new_identity()
    expression = forged.format(tenant=other.tenant_id)
    async with database.as_(who) as connection:
        await connection.execute(f"select {expression}")
        row = await one(connection, "insert into public.samples (label) values ('x') returning *")
        assert (row["tenant_id"], row["created_by"], row["version"]) == (who.tenant_id, who.user_id, 1)
    assert len(await database.rows("select from public.audit where record_id = $1", row["id"])) == 1


@pytest.mark.parametrize("setting", ["app.tenant", "app.user"])
async def test_settings_forged_within_the_statement_are_found_out(database: Database, setting: str) -> None:
    who = new_identity()
    with pytest.raises(DENIED):
        async with database.as_(who) as connection:
            await connection.execute(
                "insert into public.samples (label) select set_config($1, $2, true)", setting, new_id()
            )


async def test_another_tenant_sees_and_changes_nothing(database: Database) -> None:
    who, other = new_identity(), new_identity()
    row = await add(database, who)
    async with database.as_(other) as connection:
        for table in ("samples", "audit", "changes"):
            assert await connection.fetchval(f"select count(*) from public.{table}") == 0
    assert await change(database, other, "label = 'mine' where id = $1", row["id"]) == []
    assert (await add(database, other, id=row["id"]))["tenant_id"] == other.tenant_id


async def test_nobody_deletes_for_good(database: Database) -> None:
    who = new_identity("system")
    await add(database, who)
    for sql in ("delete from public.samples", "truncate public.samples"):
        with pytest.raises(DENIED):
            async with database.as_(who) as connection:
                await connection.execute(sql)


@pytest.mark.parametrize("role", ["viewer", "agent", "manager", "admin"])
async def test_each_role_may_what_the_policy_says(database: Database, role: Role) -> None:
    boss = new_identity()
    who = new_identity(role, boss.tenant_id)
    row = await add(database, boss)
    async with database.as_(who) as connection:
        assert await connection.fetchval("select count(*) from public.samples") == 1
        assert await connection.fetchval("select count(*) from public.audit") == (role in ("manager", "admin"))
    if role == "viewer":
        with pytest.raises(DENIED):
            await add(database, who)
        assert await change(database, who, "rank = 1") == []
        assert await change(database, who, "deleted_at = now()") == []
    else:
        await add(database, who)
        assert await change(database, who, "rank = 1 where id = $1", row["id"])
        if role == "agent":
            with pytest.raises(DENIED, match="may not delete"):
                await change(database, who, "deleted_at = now() where id = $1", row["id"])
            await change(database, boss, "deleted_at = now() where id = $1", row["id"])
            with pytest.raises(DENIED, match="may not restore"):
                await change(database, who, "deleted_at = null where id = $1", row["id"])
        else:
            assert await change(database, who, "deleted_at = now() where id = $1", row["id"])
            assert await change(database, who, "deleted_at = null where id = $1", row["id"])


@pytest.mark.parametrize(
    "token",
    [
        {"role": "authenticated"},
        {"role": "authenticated", "user_metadata": {"tenant_id": "T", "role": "admin"}},
        {"role": "authenticated", "app_metadata": {"role": "admin"}},
        {"role": "authenticated", "app_metadata": {"tenant_id": "T"}},
        {"role": "authenticated", "app_metadata": {"tenant_id": "T", "role": "owner"}},
        {"role": "authenticated", "app_metadata": "T"},
        {"role": "authenticated", "tenant_id": "T"},
    ],
    ids=["nothing", "user_metadata", "no_tenant", "no_role", "unknown_role", "no_object", "top_level"],
)
async def test_a_token_that_names_no_tenant_and_role_gets_nothing(database: Database, token: dict[str, Any]) -> None:
    who = new_identity()
    await add(database, who)
    token = {
        k: {n: v.replace("T", who.tenant_id) for n, v in x.items()} if isinstance(x, dict) else x
        for k, x in token.items()
    }
    async with database.as_(None, token={"sub": who.user_id, **token}) as connection:
        assert await connection.fetchval("select count(*) from public.samples") == 0
    with pytest.raises(DENIED):
        async with database.as_(None, token={"sub": who.user_id, **token}) as connection:
            await connection.execute("insert into public.samples (label) values ('x')")


async def test_anonymous_callers_reach_nothing(database: Database) -> None:
    await add(database, new_identity())
    tables = await database.rows(
        "select tablename from pg_tables where schemaname in ('public', 'app') and tablename <> 'spatial_ref_sys'"
    )
    for (table,) in tables:
        for schema in ("public", "app"):
            with pytest.raises((DENIED, asyncpg.UndefinedTableError)):
                async with database.as_(None, role="anon") as connection:
                    await connection.execute(f"select from {schema}.{table}")


async def test_numbers_count_per_tenant(database: Database) -> None:
    who, other = new_identity(), new_identity()
    async with database.as_(who) as connection:
        rows = await connection.fetch(
            "insert into public.samples (label) select n::text from generate_series(1, 700) n returning number, label"
        )
        assert [(row["number"], row["label"]) for row in rows] == [(n, str(n)) for n in range(1, 701)]
        assert await connection.fetchval("insert into public.samples (label) values ('next') returning number") == 701
    assert (await add(database, who))["number"] == 702
    assert (await add(database, other))["number"] == 1


async def test_numbers_go_on_after_a_failed_statement(database: Database) -> None:
    who = new_identity()
    await add(database, who, code="1")
    with pytest.raises(asyncpg.UniqueViolationError):
        await add(database, who, code="1")
    assert (await add(database, who))["number"] == 2


async def test_the_service_role_names_the_tenant(database: Database) -> None:
    tenants = [new_id(), new_id(), new_id()]
    async with database.as_(None, role="service_role") as connection:
        rows = await connection.fetch(
            "insert into public.samples (tenant_id, label, created_by) select t, 'x', 'u' from unnest($1::text[]) t returning *",
            [*tenants, tenants[0]],
        )
        assert [(row["tenant_id"], row["number"], row["version"]) for row in rows] == [
            (tenants[0], 1, 1),
            (tenants[1], 1, 1),
            (tenants[2], 1, 1),
            (tenants[0], 2, 1),
        ]
        assert {row["created_by"] for row in rows} == {"u"}
        with pytest.raises(DENIED, match="no tenant"):
            await connection.execute("insert into public.samples (label) values ('x')")


async def test_the_service_role_erases_and_watchers_are_told(database: Database) -> None:
    who = new_identity()
    row = await add(database, who)
    async with database.as_(None, role="service_role") as connection:
        await connection.execute("delete from public.samples where id = $1", row["id"])
    changes = await database.rows("select kind from public.changes where record_id = $1 order by position", row["id"])
    assert [change["kind"] for change in changes] == ["created", "deleted"]


async def test_the_trail_is_only_added_to(database: Database) -> None:
    who = new_identity("system")
    await add(database, who)
    for role in ("authenticated", "service_role"):
        for sql in ("update public.audit set actor = 'nobody'", "delete from public.audit", "truncate public.audit"):
            with pytest.raises(DENIED):
                async with database.as_(who, role=role) as connection:
                    await connection.execute(sql)
    for role in get_args(UserRole):
        with pytest.raises(DENIED):
            async with database.as_(new_identity(role, who.tenant_id)) as connection:
                await connection.execute("insert into public.audit (actor, action, target) values ('a', 'b', 'c')")


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("label", "", "label"),
        ("label", "x" * 201, "label"),
        ("email", "nobody", "email"),
        ("grade", "other", "grade"),
        ("currency", "euro", "currency"),
        ("rank", 2**53, "rank"),
        ("ratio", float("nan"), "ratio"),
        ("ratio", float("inf"), "ratio"),
        ("amount", Decimal("NaN"), "amount"),
        ("amount", Decimal("1e12"), "amount"),
        ("amount", Decimal("1.00001"), "amount"),
        ("marks", ["a", ""], "marks"),
        ("marks", ["a", None], "marks"),
        ("marks", ["x" * 201], "marks"),
        ("marks", [["a"], ["b"]], "marks"),
        ("marks", ["m"] * 101, "marks"),
        ("id", "ADMIN", "id"),
        ("id", "01A206CA-6C88-7059-9A1E-70F3CEBB7F4E", "id"),
        ("id", "01a206ca-6c88-4059-9a1e-70f3cebb7f4e", "id"),
    ],
)
async def test_annotations_hold_direct_writers_too(
    database: Database, column: str, value: Any, constraint: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as found:
        await add(database, new_identity(), **{column: value})
    assert found.value.constraint_name == f"samples_{constraint}_check"


@pytest.mark.parametrize(
    "sql",
    ["day = 'infinity'", "happened_at = '-infinity'", "happened_at = '10000-01-01'", "place = 'SRID=4326;POINT EMPTY'"],
)
async def test_what_json_has_no_word_for_is_refused(database: Database, sql: str) -> None:
    who = new_identity()
    await add(database, who)
    with pytest.raises(asyncpg.CheckViolationError):
        await change(database, who, sql)


async def test_amounts_lose_their_trailing_zeros(database: Database) -> None:
    row = await add(database, new_identity(), amount=Decimal("100.5000"), weight=Decimal("1E+3"))
    assert (str(row["amount"]), str(row["weight"])) == ("100.5", "1000")


async def test_duplicates_are_skipped_where_the_client_asks(database: Database) -> None:
    who, skip = new_identity(), {"x-interlock-duplicates": "skip"}
    taken = await add(database, who, code="1")
    async with database.as_(who, headers=skip) as connection:
        rows = await connection.fetch(
            "insert into public.samples (id, label, code, email) values ($1, 'id', null, null), ($2, 'code', '1', null),"
            " ($2, 'first', '2', 'A@x.test'), ($2, 'again', '3', null), ($3, 'same code', '2', null), ($3, 'email', null, 'a@X.test'),"
            " ($3, 'last', null, null) returning label, number",
            taken["id"],
            new_id(),
            new_id(),
        )
    assert [tuple(row) for row in rows] == [("first", 2), ("last", 3)]
