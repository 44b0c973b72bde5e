"""Users, memberships and Supabase's auth keep to one another."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from tests.supabase.schema.conftest import PROJECT, Project
from tests.supabase.schema.database import Database, claims, one

from interlock.contract import Identity
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio


async def invite(database: Database, boss: Identity, email: str, role: str = "agent") -> str:
    """The id of a new user."""
    async with database.as_(boss) as connection:
        made: str = await connection.fetchval(
            "insert into public.users (email, display_name, role) values ($1, 'N', $2) returning id", email, role
        )
    return made


async def sign_up(
    database: Database, email: str, *, confirmed: bool = True, tenant: str | None = None
) -> dict[str, Any]:
    """The metadata of a new auth user, as auth makes one."""
    said = {} if tenant is None else {"tenant_id": tenant}
    rows = await database.rows(
        "insert into auth.users (id, email, email_confirmed_at, raw_app_meta_data, raw_user_meta_data)"
        " values (gen_random_uuid(), $1, case when $2 then now() end, '{\"provider\": \"email\"}', $3) returning raw_app_meta_data",
        email, confirmed, json.dumps(said),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(rows[0][0])
    return found


async def metadata(database: Database, email: str) -> dict[str, Any]:
    (row,) = await database.rows("select raw_app_meta_data from auth.users where email = $1", email)
    found: dict[str, Any] = json.loads(row[0])
    return found


def address() -> str:
    return f"{new_id()}@x.test"


async def test_an_invited_address_joins_when_it_is_confirmed(database: Database) -> None:
    boss, email = new_identity(), address()
    user = await invite(database, boss, email, "manager")
    assert "tenant_id" not in await sign_up(database, email, confirmed=False)
    await database.rows("update auth.users set email_confirmed_at = now() where email = $1", email)
    joined = {"provider": "email", "tenant_id": boss.tenant_id, "user_id": user, "role": "manager"}
    assert await metadata(database, email) == joined
    # Auth writes this column anew when it adds a provider.
    await database.rows('update auth.users set raw_app_meta_data = \'{"provider": "email"}\' where email = $1', email)
    assert await metadata(database, email) == joined


async def test_nobody_joins_without_an_invitation(database: Database) -> None:
    boss, email = new_identity(), address()
    await invite(database, boss, address())
    assert "tenant_id" not in await sign_up(database, email, tenant=boss.tenant_id)


async def test_the_tenant_named_at_sign_up_only_chooses(database: Database) -> None:
    first, second, email = new_identity(), new_identity(), address()
    for boss in (first, second):
        await invite(database, boss, email)
    assert "tenant_id" not in await sign_up(database, email)
    await database.rows("delete from auth.users where email = $1", email)
    assert (await sign_up(database, email, tenant=second.tenant_id))["tenant_id"] == second.tenant_id
    await database.rows("delete from auth.users where email = $1", email)
    assert "tenant_id" not in await sign_up(database, email, tenant=new_id())


@pytest.mark.parametrize("sql", ["active = false", "deleted_at = now()"])
async def test_whom_the_tenant_let_go_does_not_join(database: Database, sql: str) -> None:
    boss, email = new_identity(), address()
    await invite(database, boss, email)
    async with database.as_(boss) as connection:
        await connection.execute(f"update public.users set {sql} where email = $1", email)
    assert "tenant_id" not in await sign_up(database, email)


async def test_who_signed_up_first_joins_when_invited(database: Database) -> None:
    boss, email = new_identity(), address()
    await sign_up(database, email)
    user = await invite(database, boss, email)
    assert (await metadata(database, email))["user_id"] == user


@pytest.mark.parametrize("sql", ["role = 'agent'", "active = false", "deleted_at = now()"])
async def test_a_tenant_keeps_an_admin(database: Database, sql: str) -> None:
    boss = new_identity()
    first, second = [await invite(database, boss, address(), "admin") for _ in range(2)]
    async with database.as_(boss) as connection:
        with pytest.raises(asyncpg.PostgresError, match="last_admin"):
            await connection.execute(f"update public.users set {sql} where id = any ($1)", [first, second])
    async with database.as_(boss) as connection:
        await connection.execute(f"update public.users set {sql} where id = $1", first)
    async with database.as_(boss) as connection:
        with pytest.raises(asyncpg.PostgresError, match="last_admin"):
            await connection.execute(f"update public.users set {sql} where id = $1", second)
    async with database.as_(boss) as connection:
        await connection.execute("update public.users set display_name = 'M' where id = $1", second)


async def test_a_role_follows_at_once_and_in_the_metadata(database: Database) -> None:
    boss, email = new_identity(), address()
    await invite(database, boss, address(), "admin")  # who stays
    user = await invite(database, boss, email, "admin")
    await sign_up(database, email)
    who = Identity(user, boss.tenant_id, "admin")
    async with database.as_(who) as connection:
        assert await connection.fetchval("select app.role()") == "admin"
    async with database.as_(boss) as connection:
        await connection.execute("update public.users set role = 'viewer' where id = $1", user)
    async with database.as_(who) as connection:
        assert await connection.fetchval("select app.role()") == "viewer"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("insert into public.samples (label) values ('x')")
    assert (await metadata(database, email))["role"] == "viewer"


@pytest.mark.parametrize(
    ("gone", "back"), [("active = false", "active = true"), ("deleted_at = now()", "deleted_at = null")]
)
async def test_a_revoked_user_reaches_nothing_whatever_the_token_says(database: Database, gone: str, back: str) -> None:
    boss = new_identity()
    await invite(database, boss, address(), "admin")  # who stays
    user = await invite(database, boss, address(), "admin")
    who = Identity(user, boss.tenant_id, "admin")
    async with database.as_(who) as connection:
        await connection.execute("insert into public.samples (label) values ('x')")
        await connection.execute("select app.check_request()")
    async with database.as_(boss) as connection:
        await connection.execute(f"update public.users set {gone} where id = $1", user)
    async with database.as_(who) as connection:
        assert await connection.fetchval("select app.tenant_id()") is None
        for table in ("samples", "users", "changes", "audit"):
            assert await connection.fetchval(f"select count(*) from public.{table}") == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.as_(who) as connection:
            await connection.execute("insert into public.samples (label) values ('x')")
    with pytest.raises(asyncpg.PostgresError, match="user_revoked") as found:
        async with database.as_(who) as connection:
            await connection.execute("select app.check_request()")
    assert found.value.sqlstate == "PT401"
    async with database.as_(boss) as connection:
        await connection.execute(f"update public.users set {back} where id = $1", user)
    async with database.as_(who) as connection:
        await connection.execute("select app.check_request()")
        assert await connection.fetchval("select count(*) from public.samples") == 1


async def test_who_was_erased_reaches_nothing(database: Database) -> None:
    boss = new_identity()
    user = await invite(database, boss, address(), "admin")
    async with database.as_(None, role="service_role") as connection:
        await connection.execute("delete from public.users where id = $1", user)
    async with database.as_(Identity(user, boss.tenant_id, "admin")) as connection:
        assert await connection.fetchval("select app.tenant_id()") is None


async def test_a_user_of_another_backend_has_the_tokens_word(database: Database) -> None:
    who = new_identity("agent")
    async with database.as_(who) as connection:
        await connection.execute("select app.check_request()")
        assert tuple(await one(connection, "select * from app.caller()")) == (who.tenant_id, who.user_id, "agent")


async def test_no_membership_makes_a_system(database: Database) -> None:
    boss = new_identity()
    user = await invite(database, boss, address())
    with pytest.raises(asyncpg.PostgresError):
        await database.rows("update app.memberships set role = 'system' where user_id = $1", user)
    with pytest.raises(asyncpg.CheckViolationError):
        async with database.as_(boss) as connection:
            await connection.execute("update public.users set role = 'system' where id = $1", user)


async def test_the_users_id_is_taken_from_app_metadata(database: Database) -> None:
    who = new_identity()
    token = claims(who) | {"sub": "b0f2c0de-0000-4000-8000-000000000000"}
    async with database.as_(None, token=token) as connection:
        assert await connection.fetchval("select app.user_id()") == who.user_id
    del token["app_metadata"]["user_id"]
    async with database.as_(None, token=token) as connection:
        assert await connection.fetchval("select app.user_id()") == token["sub"]


async def test_the_seed_may_be_sown_twice_and_its_users_log_in(project: Project) -> None:
    from interlock.seed.demo import DEMO_PASSWORD, DEMO_USERS

    name = project.migrated()
    for _ in range(2):
        project.psql(name, "postgres", (PROJECT / "seed.sql").read_text())
    database = project.connect(name)
    found = await database.rows(
        "select a.id::text, a.raw_app_meta_data ->> 'tenant_id', a.raw_app_meta_data ->> 'role', a.email from auth.users a"
        " join public.users u on u.id = a.raw_app_meta_data ->> 'user_id' join app.memberships m on m.user_id = u.id"
        " where a.encrypted_password = extensions.crypt($1, a.encrypted_password) order by 1",
        DEMO_PASSWORD,
    )
    assert [Identity(*row) for row in found] == sorted(DEMO_USERS, key=lambda who: who.user_id)
    assert len(await database.rows("select from public.customers")) == 3


async def test_files_are_reached_by_their_own_tenant(database: Database) -> None:
    who, other = new_identity(), new_identity()
    insert = "insert into storage.objects (bucket_id, name) values ('files', $1)"
    async with database.as_(who) as connection:
        await connection.execute(insert, f"{who.tenant_id}/a")
    for path in (f"{who.tenant_id}/b", f"{other.tenant_id}x/b", f"/{other.tenant_id}/b", "b"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with database.as_(other) as connection:
                await connection.execute(insert, path)
    async with database.as_(other) as connection:
        assert await connection.fetchval("select count(*) from storage.objects") == 0
        assert await connection.execute("delete from storage.objects") == "DELETE 0"
        assert await connection.execute("update storage.objects set name = $1", f"{other.tenant_id}/a") == "UPDATE 0"
    viewer = new_identity("viewer", who.tenant_id)
    async with database.as_(viewer) as connection:
        assert await connection.fetchval("select count(*) from storage.objects") == 1
        assert await connection.execute("delete from storage.objects") == "DELETE 0"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.as_(viewer) as connection:
            await connection.execute(insert, f"{who.tenant_id}/c")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.as_(who) as connection:
            await connection.execute("update storage.objects set name = $1", f"{other.tenant_id}/a")
    async with database.as_(who) as connection:
        assert await connection.execute("delete from storage.objects") == "DELETE 1"
