"""Operation ids: recorded in the write's own transaction, and answered with what they wrote."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from tests.supabase.schema.database import Database, operation

from interlock.contract import Identity
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio

INSERT = (
    "insert into public.samples (id, label, amount, place) values ($1, 'x', 1.50, 'SRID=4326;POINT(2 1)') returning *"
)


async def write(
    database: Database, who: Identity, headers: dict[str, str], sql: str = INSERT, *values: Any
) -> list[Any]:
    async with database.as_(who, headers=headers) as connection:
        return list(await connection.fetch(sql, *values))


async def refused(
    database: Database, who: Identity, headers: dict[str, str], sql: str = INSERT, *values: Any
) -> asyncpg.PostgresError:
    with pytest.raises(asyncpg.PostgresError) as found:
        await write(database, who, headers, sql, *values)
    return found.value


@pytest.mark.clock
async def test_the_same_write_again_is_answered_with_its_rows(database: Database) -> None:
    who, headers, record_id = new_identity(), operation(new_id()), new_id()
    (row,) = await write(database, who, headers, INSERT, record_id)
    await write(database, who, {}, "update public.samples set label = 'later' where id = $1", record_id)
    error = await refused(database, who, headers, INSERT, record_id)
    assert (error.sqlstate, error.message) == ("PT409", "operation_done")
    (image,) = json.loads(error.detail or "")["rows"]
    assert (image["id"], image["label"], image["version"], image["amount"]) == (record_id, "x", 1, 1.5)
    assert image["place"] == {"lat": 1, "lon": 2}
    assert datetime.fromisoformat(image["created_at"]) == row["created_at"]  # PostgreSQL leaves out zeros at the end
    assert "search_text" not in image
    assert json.loads(error.detail or "")["rejected"] == []
    assert len(await database.rows("select from public.samples where id = $1", record_id)) == 1


@pytest.mark.parametrize("other", ["fingerprint", "user"])
async def test_another_request_under_the_same_id_is_refused(database: Database, other: str) -> None:
    who, record_id = new_identity(), new_id()
    operation_id = new_id()
    await write(database, who, operation(operation_id), INSERT, record_id)
    caller = new_identity("admin", who.tenant_id) if other == "user" else who
    error = await refused(
        database, caller, operation(operation_id, "g" if other == "fingerprint" else "f"), INSERT, record_id
    )
    assert (error.sqlstate, error.message) == ("PT422", "operation_reused")
    assert getattr(error, "detail", "").find(record_id) == -1


async def test_steps_are_writes_of_their_own(database: Database) -> None:
    who, operation_id = new_identity(), new_id()
    for step in range(2):
        await write(database, who, operation(operation_id, step=step), INSERT, new_id())
    assert len(await database.rows("select from app.operations where operation_id = $1", operation_id)) == 2


async def test_a_slash_in_an_id_is_part_of_it(database: Database) -> None:
    who, operation_id = new_identity(), f"a/b/{new_id()}"
    await write(database, who, operation(operation_id, step=3), INSERT, new_id())
    (found,) = await database.rows("select operation_id, step from app.operations where tenant_id = $1", who.tenant_id)
    assert tuple(found) == (operation_id, "3")


async def test_tenants_do_not_share_ids(database: Database) -> None:
    operation_id = new_id()
    for _ in range(2):
        assert await write(database, new_identity(), operation(operation_id), INSERT, new_id())


async def test_a_failed_write_is_not_remembered(database: Database) -> None:
    who, headers, record_id = new_identity(), operation(new_id()), new_id()
    await write(database, who, {}, INSERT, record_id)
    assert (await refused(database, who, headers, INSERT, record_id)).sqlstate == "23505"
    assert await write(database, who, headers, INSERT, new_id())


async def test_an_update_remembers_unchanged_rows_too(database: Database) -> None:
    who, headers = new_identity(), operation(new_id())
    for _ in range(2):
        await write(database, who, {}, INSERT, new_id())
    await write(database, who, {}, "update public.samples set rank = 1 where id = (select min(id) from public.samples)")
    await write(database, who, headers, "update public.samples set rank = 1")
    error = await refused(database, who, headers, "update public.samples set rank = 1")
    assert sorted(row["version"] for row in json.loads(error.detail or "")["rows"]) == [2, 2]


async def test_a_write_of_nothing_is_remembered(database: Database) -> None:
    who, headers = new_identity(), operation(new_id())
    sql = "update public.samples set rank = 1 where id = 'nobody'"
    await write(database, who, headers, sql)
    error = await refused(database, who, headers, sql)
    assert json.loads(error.detail or "") == {"rows": [], "rejected": []}


async def test_rejections_are_answered_too(database: Database) -> None:
    who, operation_id = new_identity(), new_id()
    rejected = [{"id": "x", "code": "not_found"}]
    headers = operation(operation_id)
    await write(database, who, headers, "update public.samples set rank = 1 where id = 'x'")
    reject = "select public.interlock_reject($1, $2, $3, $4)"
    await write(database, who, {}, reject, operation_id, "0", "f", json.dumps(rejected))
    error = await refused(database, who, headers, "update public.samples set rank = 1 where id = 'x'")
    assert json.loads(error.detail or "") == {"rows": [], "rejected": rejected}
    assert (await refused(database, who, {}, reject, operation_id, "0", "other", "[]")).sqlstate == "PT422"
    await write(database, new_identity(), {}, reject, operation_id, "0", "other", "[]")
    (kept,) = await database.rows("select rejected from app.operations where tenant_id = $1", who.tenant_id)
    assert json.loads(kept["rejected"]) == rejected


async def test_a_rejection_may_come_without_a_write(database: Database) -> None:
    who, operation_id = new_identity(), new_id()
    await write(database, who, {}, "select public.interlock_reject($1, '0', 'f', '[1]')", operation_id)
    error = await refused(database, who, operation(operation_id), INSERT, new_id())
    assert json.loads(error.detail or "") == {"rows": [], "rejected": [1]}


async def test_one_of_many_at_once_writes(database: Database) -> None:
    who, headers, record_id = new_identity(), operation(new_id()), new_id()

    async def one() -> str:
        try:
            await write(database, who, headers, INSERT, record_id)
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        return "written"

    answers = await asyncio.gather(*(one() for _ in range(8)))
    assert sorted(answers) == ["PT409"] * 7 + ["written"]


async def test_several_statements_of_one_transaction_are_one_operation(database: Database) -> None:
    who, headers = new_identity(), operation(new_id())
    async with database.as_(who, headers=headers) as connection:
        await connection.fetch(INSERT, new_id())
        await connection.fetch(INSERT, new_id())
    error = await refused(database, who, headers, INSERT, new_id())
    assert len(json.loads(error.detail or "")["rows"]) == 2


async def test_without_a_header_nothing_is_recorded(database: Database) -> None:
    who = new_identity()
    await write(database, who, {}, INSERT, new_id())
    assert not await database.rows("select from app.operations where tenant_id = $1", who.tenant_id)


@pytest.mark.clock
async def test_operations_are_pruned(database: Database) -> None:
    who = new_identity()
    for name in ("old", "new"):
        await write(database, who, operation(name), INSERT, new_id())
    await database.rows(
        "update app.operations set at = now() - interval '40 days' where (tenant_id, operation_id) = ($1, 'old')",
        who.tenant_id,
    )
    assert (await database.rows("select app.prune_operations()"))[0][0] == 1
    (left,) = await database.rows("select operation_id from app.operations where tenant_id = $1", who.tenant_id)
    assert left["operation_id"] == "new"
