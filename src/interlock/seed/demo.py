"""Two demo tenants with their users and records, written through a backend's one verb."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from interlock.accounts import hash_password, password_lookup
from interlock.contract import Backend, Identity, Record, Request
from interlock.entities.user import Credential, User
from interlock.identifiers import new_id
from interlock.seed.generate import Generator
from interlock.seed.ids import fixed_id

__all__ = ["DEMO_PASSWORD", "DEMO_TENANTS", "DEMO_USERS", "seed_demo"]

DEMO_PASSWORD: Final = "interlock-demo"  # noqa: S105 - printed on purpose, and good on embedded data alone

DEMO_TENANTS: Final = MappingProxyType({"acme": fixed_id("tenant", "acme"), "globex": fixed_id("tenant", "globex")})
"""The ids of the demo tenants, by name."""

_USERS: Final = (
    ("acme", "admin@acme.test", "Ada Admin", "admin"),
    ("acme", "agent@acme.test", "Amir Agent", "agent"),
    ("acme", "viewer@acme.test", "Vera Viewer", "viewer"),
    ("globex", "admin@globex.test", "Gil Globex", "admin"),
)

DEMO_USERS: Final = tuple(
    Identity(fixed_id("user", email), DEMO_TENANTS[tenant], role, email)  # type: ignore[arg-type]  # roles of the table above
    for tenant, email, _, role in _USERS
)
"""Who may log in to demo data, with `DEMO_PASSWORD`."""

CHUNK: Final = 1_000


async def seed_demo(backend: Backend, *, size: int = 60, seed: int = 1, today: datetime | None = None) -> None:
    """Write the demo tenants: their users, and `size` customers each with all that belongs to them.

    What is there already (by id) is left as it is, so seeding twice adds nothing.
    """
    secret = await asyncio.to_thread(hash_password, DEMO_PASSWORD)
    now = today or datetime.now(UTC)
    for place, (tenant, tenant_id) in enumerate(DEMO_TENANTS.items()):
        identity = Identity("system", tenant_id, "system")
        people = [(email, name, role) for owner, email, name, role in _USERS if owner == tenant]
        users = [User(id=fixed_id("user", e), email=e, display_name=n, role=r) for e, n, r in people]  # type: ignore[arg-type]  # roles of the table above
        await _write(backend, identity, "users", users)
        await _write(backend, identity, "credentials", [_password(user, secret) for user in users])
        generator = Generator(seed * 1_000 + place, tenant, tuple(user.id for user in users), now)
        for resource, rows in generator.records(size):
            await _write(backend, identity, resource, rows)


def _password(user: User, secret: str) -> Credential:
    return Credential(
        id=fixed_id("credential", user.email),
        user_id=user.id,
        kind="password",
        lookup=password_lookup(user.email),
        secret=secret,
    )


async def _write(backend: Backend, identity: Identity, resource: str, rows: Iterable[Record]) -> None:
    for chunk in _chunks(rows):
        ids = tuple(row.id for row in chunk)
        there = await backend.handle(Request("get", resource, identity, ids=ids))
        known = {row.id for row in there.rows}
        new = tuple(row for row in chunk if row.id not in known)
        if not new:
            continue
        answer = await backend.handle(Request("create", resource, identity, rows=new, operation_id=new_id()))
        for outcome in answer.outcomes:
            if outcome.error is not None:
                raise outcome.error


def _chunks(rows: Iterable[Record]) -> Iterable[list[Any]]:
    chunk: list[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
