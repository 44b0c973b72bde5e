"""A list of 50 customers from PostgreSQL: our backend, and what one would write by hand with asyncpg and msgspec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg
import msgspec

from bench.data import ADMIN, customers
from bench.measure import Result, emit, interleaved, paired, rounded, seconds_per_call
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Point, Query, Request
from interlock.entities import ENTITIES
from interlock.entities.customer import CUSTOMERS, Customer
from interlock.testing.servers import PostgresServer

CALLS = 300
RUNS = 11
PLAIN = tuple(name for name in CUSTOMERS.fields if name not in ("tags", "location"))
COLUMNS = (*PLAIN, "tags", "location_lat", "location_lon")


def shaped(*values: Any) -> Customer:
    """A row as its record: the plainest way that is fast."""
    *plain, tags, lat, lon = values
    place = None if lat is None else Point(lat, lon)
    return Customer(**dict(zip(PLAIN, plain, strict=True)), tags=tuple(tags), location=place)


async def run() -> Mapping[str, Result]:
    with PostgresServer() as server:
        url = server.new_database()
        await migrate(url)
        backend = SqlBackend(url, ENTITIES)
        await backend.open()
        pool = await asyncpg.create_pool(url.replace("postgresql+asyncpg", "postgresql"), min_size=2)
        try:
            return await compare(backend, pool)
        finally:
            await pool.close()
            await backend.aclose()


async def compare(backend: SqlBackend, pool: Any) -> Mapping[str, Result]:
    rows = tuple(
        msgspec.structs.replace(row, id=f"0190d2f1-0000-7000-8000-{place:012x}")
        for place, row in enumerate(customers(2000))
    )
    for start in range(0, len(rows), 1000):
        await backend.handle(Request("create", "customers", ADMIN, rows=rows[start : start + 1000]))
    request = Request("find", "customers", ADMIN, Query(limit=50))
    names = ", ".join(COLUMNS)
    async with pool.acquire() as connection:
        await connection.execute("ANALYZE")
    # By hand: the same rows in the same order, with one more to know whether others follow.
    statement = (
        f"SELECT {names} FROM customers WHERE tenant_id = $1 AND deleted_at IS NULL "  # noqa: S608 - our names
        "ORDER BY created_at DESC, id LIMIT 51"
    )

    async def by_hand() -> list[Customer]:
        async with pool.acquire() as connection:
            found = await connection.fetch(statement, "acme")
        return [shaped(*row) for row in found[:50]]

    assert list((await backend.handle(request)).rows) == await by_hand()

    async def ours() -> float:
        return await seconds_per_call(lambda: backend.handle(request), CALLS) * 1e6

    async def theirs() -> float:
        return await seconds_per_call(by_hand, CALLS) * 1e6

    taken = await interleaved(RUNS, {"ours": ours, "by hand": theirs})
    return {
        "sql_list": paired(
            taken["ours"],
            taken["by hand"],
            bar="<=1.5",
            peer="asyncpg + msgspec written by hand, the same 50 rows of PostgreSQL",
            parts={f"{name}, µs": rounded(sorted(values)[len(values) // 2]) for name, values in taken.items()},
        )
    }


if __name__ == "__main__":
    emit(run)
