"""The official Python client on the local Supabase: auth, rest, storage, functions, realtime."""

from __future__ import annotations

import pytest

from interlock.devstack import Stack
from supabase import acreate_client

pytestmark = pytest.mark.anyio


async def test_tables_are_there(local_stack: Stack) -> None:
    client = await acreate_client(local_stack.url, local_stack.service_key)
    assert (await client.table("samples").select("*").execute()).data == []
