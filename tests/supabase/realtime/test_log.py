"""The log of changes on a real PostgreSQL: transactions that begin, write and commit in any order, and readers between them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from interlock.testing.servers import PostgresServer, ServerMissing

pytestmark = pytest.mark.anyio

SCHEMAS = Path(__file__).parents[3] / "supabase" / "schemas"
TENANTS = ("acme", "globex")
RECORDS = ("r1", "r2", "r3", "r4", "r5")
STAND_INS = """
create schema app;
create role authenticated; create role service_role; create role anon;
create publication supabase_realtime;
create function app.tenant_id() returns text language sql stable as $$ select nullif(current_setting('test.tenant', true), '') $$;
create function app.readable() returns text[] language sql stable as $$ select '{things}'::text[] $$;
create function app.may(action text, resource text) returns boolean language sql stable as $$ select resource = 'things' $$;
create table public.things (tenant_id text, id text, version bigint, primary key (tenant_id, id));
"""
"""What the log leans on and is tested elsewhere."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        with PostgresServer() as running:
            yield running
    except ServerMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


@pytest.fixture
async def database(server: PostgresServer) -> str:
    url = server.new_database().replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    roles = [row["rolname"] for row in await connection.fetch("select rolname from pg_roles")]
    stand_ins = (
        STAND_INS
        if "authenticated" not in roles
        else "\n".join(line for line in STAND_INS.splitlines() if not line.startswith("create role"))
    )
    await connection.execute(stand_ins)
    for name in ("02_changes.sql", "40_changes_reader.sql"):
        await connection.execute((SCHEMAS / name).read_text())
    await connection.close()
    return url


@dataclass
class Reader:
    """Reads the log along, in pages of any size, and checks what it reads."""

    connection: asyncpg.Connection
    tenant: str
    position: str | None = None
    seen: list[tuple[str, int]] = field(default_factory=list)
    resyncs: int = 0

    async def read(self, most: int, *, pages: int = 1_000) -> None:
        await self.connection.execute("select set_config('test.tenant', $1, false)", self.tenant)
        for _ in range(pages):
            page = await self.page(most)
            self.resyncs += page["resync"]
            for _, kind, record, version in page["changes"]:
                assert kind == "updated"
                self.seen.append((record, version))
            self.position = page["position"]
            if not page["more"]:
                return

    async def page(self, most: int) -> dict[str, Any]:
        answer = await self.connection.fetchval(
            "select public.interlock_changes('things', $1, $2)", self.position, most
        )
        page: dict[str, Any] = json.loads(answer)
        return page


@dataclass
class Writer:
    """One connection, with at most one transaction, and what that transaction has written."""

    connection: asyncpg.Connection
    transaction: Any = None
    held: set[tuple[str, str]] = field(default_factory=set)
    written: list[tuple[str, str, int]] = field(default_factory=list)

    async def begin(self, *, early: bool) -> None:
        self.transaction = self.connection.transaction()
        await self.transaction.start()
        if early:
            await self.connection.execute("select pg_current_xact_id()")

    async def write(self, tenant: str, record: str) -> None:
        version = await self.connection.fetchval(
            "insert into public.things as t values ($1, $2, 1)"
            " on conflict (tenant_id, id) do update set version = t.version + 1 returning version",
            tenant,
            record,
        )
        await self.connection.execute(
            "insert into public.changes (tenant_id, resource, record_id, version, kind) values ($1, 'things', $2, $3, 'updated')",
            tenant,
            record,
            version,
        )
        self.held.add((tenant, record))
        self.written.append((tenant, record, version))

    async def end(self, *, commit: bool) -> list[tuple[str, str, int]]:
        await (self.transaction.commit() if commit else self.transaction.rollback())
        done = self.written if commit else []
        self.transaction, self.held, self.written = None, set(), []
        return done


def in_order(seen: list[tuple[str, int]]) -> bool:
    last: dict[str, int] = {}
    for record, version in seen:
        if version <= last.get(record, 0):
            return False
        last[record] = version
    return True


@pytest.mark.parametrize("seed", range(12))
async def test_every_committed_change_is_read_once_and_in_its_records_order(database: str, seed: int) -> None:
    draw = random.Random(seed)
    writers = [Writer(await asyncpg.connect(database)) for _ in range(5)]
    reading = await asyncpg.connect(database)
    readers = [Reader(reading, tenant) for tenant in TENANTS for _ in range(3)]
    committed: list[tuple[str, str, int]] = []
    try:
        for reader in readers:
            await reader.read(100)
        for _ in range(400):
            turn = draw.random()
            writer = draw.choice(writers)
            if turn < 0.25:
                await draw.choice(readers).read(draw.choice((1, 2, 3, 500)), pages=draw.choice((1, 2, 1_000)))
            elif writer.transaction is None:
                await writer.begin(early=draw.random() < 0.7)
            elif turn < 0.75:
                taken = set().union(*(other.held for other in writers if other is not writer))
                free = [(t, r) for t in TENANTS for r in RECORDS if (t, r) not in taken]
                if free:
                    await writer.write(*draw.choice(free))
            else:
                committed += await writer.end(commit=draw.random() < 0.8)
        for writer in writers:
            if writer.transaction is not None:
                committed += await writer.end(commit=draw.random() < 0.5)
        for reader in readers:
            await reader.read(draw.choice((1, 7, 500)))
    finally:
        for connection in (reading, *(writer.connection for writer in writers)):
            await connection.close()
    assert len(committed) > 50
    for reader in readers:
        mine = sorted((record, version) for tenant, record, version in committed if tenant == reader.tenant)
        assert sorted(reader.seen) == mine
        assert in_order(reader.seen)
        assert not reader.resyncs


async def test_a_transaction_that_begins_first_and_commits_last_is_not_missed(database: str) -> None:
    long, short = Writer(await asyncpg.connect(database)), Writer(await asyncpg.connect(database))
    reader = Reader(await asyncpg.connect(database), "acme")
    await reader.read(10)
    await long.begin(early=True)
    await long.write("acme", "r1")
    for version in range(1, 4):
        await short.begin(early=False)
        await short.write("acme", "r2")
        await short.end(commit=True)
        await reader.read(10)
        assert reader.seen[-1] == ("r2", version), "a change waits for a transaction that has nothing to do with it"
    await long.end(commit=True)
    await reader.read(10)
    assert reader.seen == [("r2", 1), ("r2", 2), ("r2", 3), ("r1", 1)]
    for connection in (long.connection, short.connection, reader.connection):
        await connection.close()


async def test_versions_keep_their_order_where_the_older_transaction_writes_later(database: str) -> None:
    """The first transaction writes a record after the third did, while the second is open: a window that ends at the oldest open
    transaction would tell of version 2 before version 1."""
    first, second, third = [Writer(await asyncpg.connect(database)) for _ in range(3)]
    reader = Reader(await asyncpg.connect(database), "acme")
    await reader.read(10)
    await first.begin(early=True)
    await second.begin(early=True)
    await third.begin(early=True)
    await third.write("acme", "r1")
    await third.end(commit=True)
    await first.write("acme", "r1")
    await first.end(commit=True)
    await reader.read(1)
    await second.end(commit=True)
    await reader.read(1)
    assert reader.seen == [("r1", 1), ("r1", 2)]
    for connection in (first.connection, second.connection, third.connection, reader.connection):
        await connection.close()


async def test_each_change_of_a_page_can_be_resumed_from(database: str) -> None:
    writer = Writer(await asyncpg.connect(database))
    connection = await asyncpg.connect(database)
    reader = Reader(connection, "acme")
    await reader.read(10)
    await writer.begin(early=False)
    for _ in range(4):
        for record in RECORDS:
            await writer.write("acme", record)
    written = [(record, version) for _, record, version in writer.written]
    await writer.end(commit=True)
    page = await reader.page(500)
    places = [place for place, *_ in page["changes"]]
    await writer.begin(early=False)
    await writer.write("acme", "r9")
    await writer.end(commit=True)
    for count, place in enumerate(places, 1):
        resumed = Reader(connection, "acme", f"{page['window']}.{place}")
        await resumed.read(3)
        assert resumed.seen == [*written[count:], ("r9", 1)]
    await writer.connection.close()
    await connection.close()


@pytest.mark.parametrize(
    "position",
    ["", "x", "1", "1.2.3", "no position of ours", "0.1:1:", "{oid}.nonsense", "{oid}.99999999:99999999:", "{oid}.5:4:",
     "{oid}.3:3:.3:3:", "{oid}.3:3:.3:3:.x", "{oid}.3:3:.9:8:.1", "{oid}.3:3:.3:3:.1.1", "{oid}", ".....", "{oid}.3:3:.99999999:99999999:.1"],
)  # fmt: skip
async def test_a_position_that_is_not_known_is_a_resync(database: str, position: str) -> None:
    connection = await asyncpg.connect(database)
    oid = await connection.fetchval("select oid from pg_database where datname = current_database()")
    reader = Reader(connection, "acme", position.replace("{oid}", str(oid)))
    await reader.read(10)
    assert (reader.resyncs, reader.seen) == (1, [])
    await reader.read(10)
    assert reader.resyncs == 1
    await connection.close()


@pytest.mark.clock
async def test_who_is_behind_the_pruned_log_reads_again(database: str) -> None:
    connection = await asyncpg.connect(database)
    writer = Writer(connection)
    behind, abreast, other = Reader(connection, "acme"), Reader(connection, "acme"), Reader(connection, "globex")
    for reader in (behind, abreast, other):
        await reader.read(10)
    for _ in range(3):
        await writer.begin(early=False)
        await writer.write("acme", "r1")
        await writer.end(commit=True)
    await abreast.read(10)
    assert await connection.fetchval("select app.prune_changes()") == 0
    await connection.execute("update public.changes set at = at - interval '8 days'")
    assert await connection.fetchval("select app.prune_changes('7 days', 2)") == 2
    assert await connection.fetchval("select app.prune_changes()") == 1
    await writer.begin(early=False)
    await writer.write("acme", "r1")
    await writer.end(commit=True)
    for reader in (behind, abreast, other):
        await reader.read(10)
    assert (behind.resyncs, abreast.resyncs, other.resyncs) == (1, 0, 0)
    assert abreast.seen[-1] == ("r1", 4)
    await connection.close()


@pytest.mark.clock
async def test_the_log_prunes_itself(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "insert into public.changes (tenant_id, resource, record_id, version, kind, at)"
        " select 'acme', 'things', n::text, 1, 'created', now() - interval '30 days' from generate_series(1, 500) n"
    )
    for n in range(2_000):
        await connection.execute(
            "insert into public.changes (tenant_id, resource, record_id, version, kind) values ('acme', 'things', $1, 2, 'updated')",
            str(n),
        )
        if await connection.fetchval("select count(*) from public.changes where version = 1") == 0:
            break
    else:
        raise AssertionError("nothing was pruned")
    await connection.close()


async def test_nobody_without_tenant_or_right_reads_the_log(database: str) -> None:
    connection = await asyncpg.connect(database)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("select public.interlock_changes('things')")
    await connection.execute("select set_config('test.tenant', 'acme', false)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("select public.interlock_changes('secrets')")
    await connection.execute("set role anon")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("select public.interlock_changes('things')")
    await connection.close()
