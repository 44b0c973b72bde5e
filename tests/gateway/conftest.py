"""A real gateway over memory for these tests: two tenants, every role, seeded records."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.patience import PATIENCE

from interlock.app import App
from interlock.contract import Identity
from interlock.gateway import create_app
from interlock.gateway.edge import Edge
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.settings import Settings

PREFIX = "/api/v1"


@dataclass
class Gateway:
    """A gateway that serves, and clients of it."""

    app: App
    edge: Edge
    url: str
    clients: list[httpx.AsyncClient]

    def token(self, role: Any = "admin", tenant: str = "north", *, user: str | None = None, ttl: float = 600) -> str:
        return self.app.issuer.mint(Identity(user or new_id(), tenant, role, f"{role}@{tenant}.test"), ttl)

    def client(self, role: Any = "admin", tenant: str = "north", *, user: str | None = None) -> httpx.AsyncClient:
        return self.bearer(self.token(role, tenant, user=user))

    def bearer(self, token: str | None) -> httpx.AsyncClient:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE)
        self.clients.append(client)
        return client


async def opened(home: Path, **values: Any) -> AsyncIterator[Gateway]:
    """A gateway of its own, with these settings."""
    settings = Settings(home=home, **{"rate_limit": 0, "login_limit": 0, "environment": "production", **values})
    app = await App.open(settings)
    edge = create_app(app)
    try:
        async with serving(edge) as url:
            found = Gateway(app, edge, url, [])
            yield found
            for client in found.clients:
                await client.aclose()
    finally:
        await app.aclose()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async for found in opened(tmp_path):
        yield found


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Gateway]:
    """With the demo tenants, users and records."""
    async for found in opened(tmp_path, environment="test", seed_size=12):
        yield found


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Gateway]:
    """With low limits."""
    async for found in opened(tmp_path, rate_limit=5, login_limit=3, body_limit=2048, upload_limit=4096):
        yield found
