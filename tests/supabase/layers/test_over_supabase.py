"""All layers together over Supabase: the local stack, or the project that the environment names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.layers.conform.binding import Everything, backends, everything
from tests.supabase.test_conformance import backend_on

from interlock.contract import Backend
from interlock.devstack import Stack

__all__ = ["backends", "everything"]


@pytest.fixture(scope="module")
async def inner_backend(stack: Any) -> AsyncIterator[Backend]:
    async with backend_on(stack) as subject:
        yield subject.backend


@pytest.fixture(scope="module")
async def other_backend(another_stack: Stack) -> AsyncIterator[Backend]:
    async with backend_on(another_stack) as subject:
        yield subject.backend


class TestEverything(Everything):
    """In the product's own order."""
