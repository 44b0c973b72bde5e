"""What the catalog must say of every table and function, whoever added it."""

from __future__ import annotations

import asyncpg
import pytest
from tests.supabase.schema.database import Database

pytestmark = pytest.mark.anyio

OURS = "not exists (select from pg_depend e where e.objid = {oid} and e.deptype = 'e')"

FOR_ANON = {"app.check_request()", "public.interlock_version()"}
"""What runs before every request; and what a probe asks, which reads nothing."""


async def functions(database: Database, where: str) -> set[str]:
    rows = await database.rows(
        "select n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')'"
        " from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        f" where n.nspname in ('public', 'app') and {OURS.format(oid='p.oid')} and ({where})"
    )
    return {row[0] for row in rows}


async def tables(database: Database, where: str) -> set[str]:
    rows = await database.rows(
        "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        f" where n.nspname in ('public', 'app') and c.relkind in ('r', 'v', 'm') and {OURS.format(oid='c.oid')} and ({where})"
    )
    return {row[0] for row in rows}


async def test_no_function_searches_a_path(database: Database) -> None:
    """One whose body is bound when it is made has no names left to search for."""
    open_ = "p.prosqlbody is null and not coalesce(p.proconfig, '{}') @> array['search_path=\"\"']"
    assert await functions(database, open_) == set()


async def test_a_definers_function_is_never_left_open(database: Database) -> None:
    assert await functions(database, "p.prosecdef and p.proconfig is null") == set()


async def test_anonymous_callers_may_call_nothing(database: Database) -> None:
    assert await functions(database, "has_function_privilege('anon', p.oid, 'execute')") == FOR_ANON


async def test_every_table_has_row_level_security(database: Database) -> None:
    assert await tables(database, "not c.relrowsecurity") == set()
    assert await tables(database, "n.nspname = 'public' and not c.relforcerowsecurity") == set()


async def test_anonymous_callers_have_no_table(database: Database) -> None:
    verbs = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
    for role, where in (
        ("anon", "true"),
        ("authenticated", "n.nspname = 'app'"),
        ("service_role", "n.nspname = 'app'"),
    ):
        able = " or ".join(f"has_table_privilege('{role}', c.oid, '{verb}')" for verb in verbs)
        columns = " or ".join(
            f"has_any_column_privilege('{role}', c.oid, '{verb}')" for verb in ("select", "insert", "update")
        )
        assert await tables(database, f"({where}) and ({able} or {columns})") == set(), role


async def test_users_never_delete(database: Database) -> None:
    for verb in ("delete", "truncate", "trigger", "references"):
        assert await tables(database, f"has_table_privilege('authenticated', c.oid, '{verb}')") == set()
    held = "select tablename, cmd from pg_policies where schemaname in ('public', 'app') and cmd in ('DELETE', 'ALL')"
    assert await database.rows(held) == []


async def test_every_policy_asks_for_the_tenant(database: Database) -> None:
    """And asks once for a statement, not for each row."""
    rows = await database.rows(
        "select policyname, coalesce(qual, '') || coalesce(with_check, '') from pg_policies where schemaname = 'public'"
    )
    assert rows
    for name, rule in rows:
        assert "( SELECT app.tenant_id() AS tenant_id)" in rule or rule == "false", name


async def test_every_key_and_index_begins_with_the_tenant(database: Database) -> None:
    rows = await database.rows(
        "select i.indexrelid::regclass::text, a.attname, m.amname from pg_index i join pg_class c on c.oid = i.indexrelid"
        " join pg_am m on m.oid = c.relam join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace"
        " left join pg_attribute a on (a.attrelid, a.attnum) = (i.indrelid, i.indkey[0])"
        f" where n.nspname = 'public' and {OURS.format(oid='t.oid')}"
    )
    others = {row[0] for row in rows if row[1] != "tenant_id" and row[2] not in ("gist", "brin")}
    # The log's own position, and the look-up of an invitation before a tenant is known.
    assert others == {"changes_pkey", "users_email_idx"}


async def test_settings_of_the_database_are_not_the_users(database: Database) -> None:
    connection = await database.connect()
    try:
        await connection.execute("set role authenticated")
        for sql in (
            "alter role authenticator set pgrst.db_pre_request = ''",
            "create table public.mine ()",
            "create schema mine",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()
