"""What breaks gives its typed error, which names the mend; when the cause is gone, the same application works on."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
from tests.patience import PATIENCE
from tests.supabase.failures.conftest import Said, a_stack, admin, an_app, resumes

from interlock.app import App
from interlock.contract import Identity
from interlock.devstack import Part, Stack
from interlock.devstack.programs import project_folder
from interlock.errors import Misconfigured, OutcomeUnknown, Unauthenticated, Unavailable
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

STOPPED: tuple[tuple[Part, ...], ...] = (("postgrest",), ("postgres",), ("gateway",))


@pytest.mark.parametrize("parts", STOPPED, ids=lambda parts: " and ".join(parts))
async def test_a_stopped_part_is_unavailable_and_work_resumes(
    own_stack: Stack, app: App, said: Said, parts: tuple[Part, ...]
) -> None:
    crm = app.services(admin())
    before = await crm.customers.create(company_name="Before")
    operation = new_id()
    for part in parts:
        await own_stack.stop_part(part)
    try:
        with pytest.raises(Unavailable) as read:
            await crm.customers.get(before.id)
        said.note(read.value)
        with pytest.raises((Unavailable, OutcomeUnknown)) as write:
            await crm.customers.create(company_name="During", operation_id=operation)
        said.note(write.value)
        health = {row.service: row.health for row in await app.status()}
        assert health["customers"] == "unhealthy"
    finally:
        for part in parts:
            await own_stack.start_part(part)
    again = await resumes(lambda: crm.customers.get(before.id), said)
    assert again == before
    made = await resumes(lambda: crm.customers.create(company_name="During", operation_id=operation), said)
    rows = await crm.customers.list(count="exact")
    assert rows.total == 2, "the operation id made one row of all tries"
    assert made.id in {row.id for row in rows.items}


async def test_a_stream_outlives_a_restarted_database(own_stack: Stack, app: App, said: Said) -> None:
    crm = app.services(admin())
    changes = crm.customers.changes()
    first = await _told(changes, crm, "First", said)
    assert first is not None
    await own_stack.stop_part("postgres")
    await own_stack.start_part("postgres")
    await resumes(lambda: crm.customers.list(), said)
    made = await resumes(lambda: crm.customers.create(company_name="After"), said)
    with anyio.fail_after(PATIENCE):
        async for change in changes:
            if change.kind == "resync" or change.record_id == made.id:
                break
    await changes.aclose()


async def _told(changes, crm, name: str, said: Said):  # type: ignore[no-untyped-def]  # a helper of one test
    """The first change that a stream tells of, which begins while rows are made."""
    found = []

    async def listen() -> None:
        async for change in changes:
            found.append(change)
            return

    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        with anyio.fail_after(PATIENCE):
            while not found:
                await resumes(lambda: crm.customers.create(company_name=name), said)
                await anyio.sleep(0.05)
    return found[0]


async def test_an_expired_token_mid_stream_is_renewed(own_stack: Stack, tmp_path: Path, said: Said) -> None:
    """Tokens are good for two seconds, and the stream runs for several of them."""
    async with an_app(own_stack, tmp_path, said, token_ttl=2.0) as app:
        crm = app.services(admin())
        changes = crm.customers.changes()
        await _told(changes, crm, "First", said)
        for number in range(6):
            await anyio.sleep(1.0)  # the token ages
            made = await crm.customers.create(company_name=f"Later {number}")
            with anyio.fail_after(PATIENCE):
                async for change in changes:
                    if change.record_id == made.id or change.kind == "resync":
                        break
        await changes.aclose()


async def test_a_revoked_user_is_unauthenticated_until_let_in_again(app: App, said: Said) -> None:
    boss = admin()
    users = app.services(boss).users
    user = await users.create(email=f"{new_id()}@example.test", display_name="One", role="agent")
    theirs = app.services(Identity(user.id, boss.tenant_id, "agent")).customers
    row = await theirs.create(company_name="Mine")
    await users.update(user.id, active=False)
    for attempt in (
        theirs.get(row.id),
        theirs.list(),
        theirs.update(row.id, city="Bergen"),
        theirs.create(company_name="x"),
    ):
        with pytest.raises(Unauthenticated) as refused:
            await attempt
        said.note(refused.value)
        assert "deactivated" in str(refused.value)
    await users.update(user.id, active=True)
    assert (await theirs.update(row.id, city="Bergen")).city == "Bergen"


FULL = """
create function app.full_bucket() returns trigger language plpgsql as
  $$ begin raise sqlstate '53100' using message = 'the tenant''s room is used up'; end $$;
create trigger full_bucket before insert or update of metadata on storage.objects for each row
  when (new.name like '{tenant}/%') execute function app.full_bucket();
"""


async def test_a_full_bucket_is_unavailable_until_there_is_room(own_stack: Stack, app: App, said: Said) -> None:
    me = admin()
    files = app.services(me).files
    kept = await files.upload("kept.txt", b"kept")
    database = await asyncpg.connect(own_stack.database_url)
    await database.execute(FULL.replace("{tenant}", me.tenant_id))
    try:
        with pytest.raises(Unavailable) as refused:
            await files.upload("more.txt", b"more")
        said.note(refused.value)
        assert (await (await files.download(kept.id)).read()) == b"kept"
        assert [file.name for file in (await files.list()).items] == ["kept.txt"], "no record without its bytes"
    finally:
        await database.execute("drop function app.full_bucket() cascade")
        await database.close()
    more = await files.upload("more.txt", b"more")
    assert (await (await files.download(more.id)).read()) == b"more"


def _project(folder: Path, upto: int) -> Path:
    """Interlock's project with the first so many of its migrations."""
    whole = project_folder()
    (folder / "migrations").mkdir(parents=True)
    shutil.copy(whole / "config.toml", folder)
    for file in sorted((whole / "migrations").glob("*.sql"))[:upto]:
        shutil.copy(file, folder / "migrations")
    return folder


async def _apply(stack: Stack, after: int) -> None:
    """What `supabase db push` does; a hosted project lets its owner have PostGIS."""
    superuser = await asyncpg.connect(stack.database_url)
    await superuser.execute("create extension if not exists postgis with schema extensions")
    await superuser.close()
    database = await asyncpg.connect(stack.owner_url)
    try:
        await database.execute('set search_path = "$user", public, extensions')
        for file in sorted((project_folder() / "migrations").glob("*.sql"))[after:]:
            await database.execute(file.read_text())
        await database.execute("notify pgrst, 'reload config'; notify pgrst, 'reload schema'")
    finally:
        await database.close()


@pytest.mark.parametrize("upto", [0, 2, 3])
async def test_a_missing_migration_is_named_and_work_begins_when_it_is_there(
    tmp_path: Path, missing: Callable[[str], None], said: Said, upto: int
) -> None:
    async with (
        a_stack(missing, project=_project(tmp_path / "project", upto)) as stack,
        an_app(stack, tmp_path / "home", said) as app,
    ):
        crm = app.services(admin())

        async def follow() -> None:
            async for _ in crm.customers.changes():
                return

        attempts: list[Callable[[], Awaitable[Any]]] = [crm.customers.aggregate, follow]
        if not upto:
            attempts += [
                lambda: crm.customers.get(new_id()),
                lambda: crm.customers.create(company_name="x"),
                crm.customers.list,
            ]
        for attempt in attempts:
            with pytest.raises(Misconfigured) as refused:
                await attempt()
            said.note(refused.value)
            assert "supabase db push" in str(refused.value)
        await _apply(stack, upto)
        made = await resumes(lambda: crm.customers.create(company_name="At last"), said)
        assert (await resumes(lambda: crm.customers.get(made.id), said)) == made
        (group,) = await resumes(lambda: crm.customers.aggregate(), said)
        assert group.values == (1,)
