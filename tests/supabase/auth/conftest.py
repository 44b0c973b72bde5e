"""A backend and the accounts of the project under test, people with passwords, and the links in their mails."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from interlock.backends.supabase import SupabaseAccounts, SupabaseBackend, SupabaseSettings
from interlock.contract import Identity, Request, Role
from interlock.devstack import Stack
from interlock.entities import ENTITIES, USERS
from interlock.identifiers import new_id
from interlock.testing.harness import Login, new_identity
from interlock.tokens import SupabaseIssuer
from interlock.validation import check_row

PASSWORD = "Correct-Horse 9!"

Enrol = Callable[..., Awaitable[Login]]
Links = Callable[[str], list[str]]


class Minted:
    """Tokens for whoever is asked for, as Interlock makes them."""

    def __init__(self, secret: str) -> None:
        self._issuer = SupabaseIssuer(secret)

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        return self._issuer.mint(identity, 300)


@pytest.fixture
async def backend(stack: Any) -> AsyncIterator[SupabaseBackend]:
    made = SupabaseBackend(
        SupabaseSettings(url=stack.url, anon_key=stack.anon_key), ENTITIES, tokens=Minted(stack.jwt_secret)
    )
    yield made
    await made.aclose()


@pytest.fixture
async def accounts(stack: Any) -> AsyncIterator[SupabaseAccounts]:
    made = SupabaseAccounts(stack.url, stack.anon_key, service_key=stack.service_key)
    yield made
    await made.aclose()


async def invite(backend: SupabaseBackend, who: Identity, *, by: Identity | None = None) -> None:
    """The user's record, as `users.invite` makes it."""
    row = check_row(USERS, {"id": who.user_id, "email": who.email, "display_name": "Somebody", "role": who.role})
    founder = by or Identity(who.user_id, who.tenant_id, "admin")
    request = Request("create", "users", founder, rows=(row,), operation_id=new_id())
    (outcome,) = (await backend.handle(request)).outcomes
    assert outcome.ok, outcome.error


@pytest.fixture
def enrol(backend: SupabaseBackend, accounts: SupabaseAccounts) -> Enrol:
    """Somebody new with a password, in a tenant of their own or in one that is named."""

    async def enrolled(role: Role = "manager", tenant_id: str | None = None) -> Login:
        who = new_identity(role, tenant_id)
        await invite(backend, who)
        assert await accounts.add_account(who, PASSWORD)
        return Login(who.email, PASSWORD, who)

    return enrolled


@pytest.fixture
def links(local_stack: Stack) -> Links:
    """The tokens of the links that were mailed to an address, oldest first."""

    def sent(email: str) -> list[str]:
        mails = [mail["text"] for mail in local_stack.mails() if mail["to"] == email]
        return [found.group(1) for text in mails if (found := re.search(r"[?&]token(?:_hash)?=([^&\s]+)", text))]

    return sent
