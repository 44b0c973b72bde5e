"""The world that is attacked: tenant A is made once, tenant B for each attack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

for _module in ("world", "table", "reads", "writes", "functions", "tokens", "accounts", "storage", "sockets"):
    pytest.register_assert_rewrite(f"tests.supabase.attacks.{_module}")

from tests.supabase.attacks.world import World  # noqa: E402  # assertions are rewritten at import


@pytest.fixture(scope="session")
def attacked(stack: Any) -> Iterator[World]:
    """Tenants A and B, with people, rows and files."""
    made = World(stack.url, stack.anon_key, stack.service_key, stack.jwt_secret, getattr(stack, "database_url", ""))
    yield made
    made.close()


@pytest.fixture
def world(attacked: World) -> World:
    """The same tenant A for all, and a tenant B that nobody has written to."""
    if attacked.touched:
        attacked.renew_b()
    return attacked
