"""The world that is attacked, made once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

for _module in ("world", "table", "reads", "writes", "functions", "tokens", "accounts", "storage", "sockets"):
    pytest.register_assert_rewrite(f"tests.supabase.attacks.{_module}")

from tests.supabase.attacks.world import World  # noqa: E402  # assertions are rewritten at import


@pytest.fixture(scope="module")
def world(stack: Any) -> Iterator[World]:
    """Tenants A and B, with people, rows and files."""
    made = World(stack.url, stack.anon_key, stack.service_key, stack.jwt_secret, getattr(stack, "database_url", ""))
    yield made
    made.close()
