"""Times come in UTC from a project whose database is set to another zone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from interlock.devstack import Stack
from interlock.testing.conformance import Caller
from interlock.testing.samples import SAMPLES

pytestmark = pytest.mark.anyio

ZONE = "America/St_Johns"
"""Half an hour off the others; before it had a standard time, by seconds."""


async def set_zone(stack: Stack, statement: str) -> None:
    connection = await asyncpg.connect(stack.owner_url)
    await connection.execute(statement)
    await connection.close()
    await stack.stop_part("postgrest")
    await stack.start_part("postgrest")


@pytest.fixture
async def elsewhere(local_stack: Stack) -> AsyncIterator[None]:
    """The project's database in another zone."""
    await set_zone(local_stack, f"alter database postgres set timezone to '{ZONE}'")
    yield
    await set_zone(local_stack, "alter database postgres reset timezone")


@pytest.mark.usefixtures("elsewhere")
async def test_times_come_in_utc(caller: Caller, way: str) -> None:
    times = [datetime.min.replace(tzinfo=UTC), datetime.now(UTC), datetime.max.replace(tzinfo=UTC)]
    rows = [await caller.add(SAMPLES, label=str(at), happened_at=at) for at in times]
    rows += (await caller.find(SAMPLES, sort=())).rows
    given = [at for row in rows for at in (row.happened_at, row.created_at, row.updated_at) if at is not None]
    assert sorted(at for at in given if at in times) == sorted(times * 2)
    assert [at.utcoffset() for at in given] == [timedelta(0)] * 18
