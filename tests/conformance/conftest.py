"""What several bindings of the suite need: somebody with a password, and a gateway over SQLite."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from interlock.accounts import hash_password, password_lookup
from interlock.contract import Backend, Record, Request
from interlock.entities import CREDENTIALS, USERS
from interlock.entity import Entity
from interlock.identifiers import new_id
from interlock.testing.conformance import Login
from interlock.testing.harness import new_identity
from interlock.validation import check_row

Enrol = Callable[[Backend], Awaitable[Login]]


@pytest.fixture(scope="session")
def enrol() -> Enrol:
    """Gives a backend somebody who can log in."""

    async def enrolled(backend: Backend) -> Login:
        who = new_identity("manager")
        login = Login(who.email, "Correct-Horse 9!", who)

        async def create(entity: Entity[Any], **values: Any) -> None:
            row: Record = check_row(entity, values)
            request = Request("create", entity.resource, who, rows=(row,), operation_id=new_id())
            (outcome,) = (await backend.handle(request)).outcomes
            assert outcome.ok, outcome.error

        await create(USERS, id=who.user_id, email=who.email, display_name="Somebody", role=who.role)
        secret, lookup = hash_password(login.password), password_lookup(who.user_id)
        await create(CREDENTIALS, user_id=who.user_id, kind="password", lookup=lookup, secret=secret)
        return login

    return enrolled
