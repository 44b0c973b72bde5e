"""Talks to a project's database as PostgREST does: a role, claims and headers for each transaction."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg

from interlock.contract import Identity

__all__ = ["HERE", "ROOT", "Database", "claims", "one", "operation"]

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]


def claims(who: Identity) -> dict[str, Any]:
    """The claims of an Interlock token."""
    metadata = {"tenant_id": who.tenant_id, "role": who.role, "user_id": who.user_id}
    return {"sub": who.user_id, "role": "authenticated", "aud": "authenticated", "app_metadata": metadata}


def operation(id: str, fingerprint: str = "f", *, step: int = 0, **others: str) -> dict[str, str]:
    """The headers of a recorded write."""
    named = {"x-interlock-operation": f"{id}/{step}", "x-interlock-fingerprint": fingerprint}
    return named | {f"x-interlock-{name}": value for name, value in others.items()}


async def one(connection: asyncpg.Connection[asyncpg.Record], sql: str, *values: Any) -> asyncpg.Record:
    """The one row that comes."""
    (row,) = await connection.fetch(sql, *values)
    return row


class Database:
    """One database, and connections to it."""

    def __init__(self, port: int, name: str) -> None:
        self._port = port
        self.name = name

    async def connect(self, user: str = "supabase_admin") -> asyncpg.Connection[asyncpg.Record]:
        """A connection; who opens it closes it."""
        return await asyncpg.connect(host="127.0.0.1", port=self._port, user=user, database=self.name)

    @asynccontextmanager
    async def as_(
        self,
        who: Identity | None,
        *,
        headers: Mapping[str, str] | None = None,
        role: str = "authenticated",
        token: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """A transaction as PostgREST opens it, committed at the end."""
        connection = await self.connect()
        try:
            async with connection.transaction():
                said = token if token is not None else claims(who) if who is not None else {"role": role}
                await connection.execute(
                    "select set_config('role', $1, true), set_config('request.jwt.claims', $2, true),"
                    " set_config('request.headers', $3, true)",
                    role,
                    json.dumps(said),
                    json.dumps(dict(headers or {})),
                )
                yield connection
        finally:
            await connection.close()

    async def rows(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        """What the superuser sees."""
        connection = await self.connect()
        try:
            return list(await connection.fetch(sql, *values))
        finally:
            await connection.close()
