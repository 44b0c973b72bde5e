"""A cached reader and a foreign writer over Supabase, each with a client of their own; Interlock itself watches."""

from __future__ import annotations

from typing import Any

import pytest
from tests.layers.conform.foreign import hears_of_strangers
from tests.supabase.test_conformance import backend_on

pytestmark = pytest.mark.anyio


async def test_over_supabase_from_another_client(stack: Any) -> None:
    async with backend_on(stack) as one, backend_on(stack) as other:
        await hears_of_strangers(one.backend, other.backend)
