"""Demo data is valid, the same everywhere, complete, and made once."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Backend, Identity, Query, Record, Request
from interlock.entities import ENTITIES
from interlock.seed import DEMO_USERS, generate, seed_demo
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

DAY = date(2026, 6, 1)
ENTITY = {entity.resource: entity for entity in ENTITIES}
RESOURCES = sorted(set(ENTITY) - {"audit", "credentials"})


async def rows_of(backend: Backend, tenant_id: str, resource: str) -> dict[str, Record]:
    identity = Identity("system", tenant_id, "system")
    answer = await backend.handle(Request("find", resource, identity, query=Query(limit=1000)))
    return {row.id: row for row in answer.rows}


async def everything(backend: Backend) -> dict[tuple[str, str], dict[str, Record]]:
    tenants = {user.tenant_id for user in DEMO_USERS}
    return {(t, r): await rows_of(backend, t, r) for t in tenants for r in RESOURCES}


def given(row: Record) -> dict[str, Any]:
    """The row without what the backend sets."""
    fields = ENTITY[_resource(row)].writable
    return {name: getattr(row, name) for name in fields}


def _resource(row: Record) -> str:
    return next(entity.resource for entity in ENTITIES if entity.record is type(row))


def test_every_row_passes_the_checks_that_a_caller_s_rows_pass() -> None:
    seen: Counter[str] = Counter()
    for _, resource, rows in generate(1, (DEMO_USERS[0],), 80, today=DAY):
        for row in rows:
            check_row(ENTITY[resource], row)
            seen[resource] += 1
    assert seen["customers"] == 80
    assert all(seen[resource] for resource in RESOURCES), seen


async def test_seeding_twice_makes_nothing_more() -> None:
    backend = MemoryBackend(ENTITIES)
    first = await seed_demo(backend, size=20, today=DAY)
    before = await everything(backend)
    assert first > 100
    assert await seed_demo(backend, size=20, today=DAY) == 0
    assert await everything(backend) == before


async def test_two_backends_hold_the_same_rows(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'seed.db'}"
    await migrate(url)
    sql, memory = SqlBackend(url, ENTITIES), MemoryBackend(ENTITIES)
    await sql.open()
    try:
        for backend in (sql, memory):
            await seed_demo(backend, size=12, today=DAY)
        ours, theirs = await everything(memory), await everything(sql)
    finally:
        await sql.aclose()
    for key, rows in ours.items():
        assert {row.id: given(row) for row in rows.values()} == {row.id: given(row) for row in theirs[key].values()}


async def test_every_reference_leads_to_a_row_of_the_same_tenant() -> None:
    backend = MemoryBackend(ENTITIES)
    await seed_demo(backend, size=30, today=DAY)
    held = await everything(backend)
    followed = 0
    for (tenant, resource), rows in held.items():
        for row in rows.values():
            assert row.tenant_id == tenant
            for reference in ENTITY[resource].references:
                target = getattr(row, reference.field)
                if target is not None:
                    assert target in held[tenant, reference.resource]
                    followed += 1
    assert followed > 50
