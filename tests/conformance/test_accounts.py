"""Log-in over backends that keep users themselves: memory, and sql on SQLite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interlock.abilities import Authenticates, RecoversAccounts
from interlock.accounts import Accounts, FileOutbox
from interlock.backends.memory import MemoryBackend
from interlock.backends.sql import SqlBackend, migrate
from interlock.contract import Backend
from interlock.entities import ENTITIES
from interlock.testing.conformance import AccountsConformance, AuthConformance, Login, Subject
from interlock.tokens import TokenIssuer

Enrol = Callable[[Backend], Awaitable[Login]]


def utc_now() -> datetime:
    return datetime.now(UTC)


async def with_accounts(backend: MemoryBackend | SqlBackend, enrol: Enrol, outbox: Path) -> Subject:
    accounts = Accounts(backend, TokenIssuer.new(), clock=utc_now, messenger=FileOutbox(outbox))
    return Subject(backend, {Authenticates: accounts, RecoversAccounts: accounts}, await enrol(backend))


class TestAccountsOverMemory(AuthConformance, AccountsConformance):
    @pytest.fixture
    async def subject(self, enrol: Enrol, tmp_path: Path) -> Subject:
        return await with_accounts(MemoryBackend(ENTITIES), enrol, tmp_path)


class TestAccountsOverSqlite(AuthConformance, AccountsConformance):
    @pytest.fixture
    async def subject(self, enrol: Enrol, tmp_path: Path) -> AsyncIterator[Subject]:
        url = f"sqlite+aiosqlite:///{tmp_path / 'accounts.db'}"
        await migrate(url)
        backend = SqlBackend(url, ENTITIES)
        await backend.open()
        yield await with_accounts(backend, enrol, tmp_path)
        await backend.aclose()
