"""The function send-notification: to one user, or to all of a role, in the caller's tenant alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.supabase.functions.conftest import Tenant

from interlock.backends.supabase.functions import SupabaseFunctions
from interlock.errors import Forbidden, Invalid
from interlock.identifiers import new_id

pytestmark = pytest.mark.anyio

NAME = "send-notification"


async def test_one_user_is_notified(functions: SupabaseFunctions, ours: Tenant) -> None:
    viewer = ours["viewer"].user_id
    message = {"user_id": viewer, "title": "Hé ☃", "body": "b", "link": "/x", "kind": "k"}
    got = await functions.invoke(ours["agent"], NAME, message)
    (row,) = (await ours.services("viewer").notifications.list()).items
    assert got == {"sent": 1, "ids": [row.id]}
    assert {"user_id": row.user_id, "title": row.title, "body": row.body, "link": row.link, "kind": row.kind} == message
    assert row.created_by == ours["agent"].user_id
    assert not (await ours.services("agent").notifications.list()).items


async def test_a_role_is_notified(functions: SupabaseFunctions, ours: Tenant, theirs: Tenant) -> None:
    users = ours.services("admin").users
    more = [await users.create(email=f"{n}@x.test", display_name="A", role="agent") for n in range(3)]
    await users.deactivate(more[0].id)
    await users.delete(more[1].id)
    got = await functions.invoke(ours["manager"], NAME, {"role": "agent", "title": "To all"})
    rows = (await ours.services("admin").notifications.list()).items
    assert {row.user_id for row in rows} == {ours["agent"].user_id, more[2].id}
    assert (got["sent"], set(got["ids"])) == (2, {row.id for row in rows})
    assert {row.kind for row in rows} == {"message"}
    assert not (await theirs.services("admin").notifications.list()).items


async def test_the_same_operation_sends_once(functions: SupabaseFunctions, ours: Tenant) -> None:
    operation, message = new_id(), {"role": "viewer", "title": "Once"}
    calls = [functions.invoke(ours["manager"], NAME, message, operation_id=operation) for _ in range(4)]
    first, *others = await asyncio.gather(*calls)
    assert all(other == first for other in others)
    assert (await ours.services("admin").notifications.list(count="exact")).total == 1
    with pytest.raises(Invalid, match="operation_id"):
        await functions.invoke(ours["manager"], NAME, {**message, "title": "Twice"}, operation_id=operation)


@pytest.mark.parametrize(
    ("role", "to"), [("viewer", {"user_id": new_id()}), ("viewer", {"role": "admin"}), ("agent", {"role": "agent"})]
)
async def test_who_may_not(functions: SupabaseFunctions, ours: Tenant, role: str, to: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        await functions.invoke(ours[role], NAME, {**to, "title": "T"})
    assert not (await ours.services("admin").notifications.list()).items


async def test_another_tenants_user_is_no_user(functions: SupabaseFunctions, ours: Tenant, theirs: Tenant) -> None:
    with pytest.raises(Invalid, match="names no user"):
        await functions.invoke(ours["admin"], NAME, {"user_id": theirs["admin"].user_id, "title": "T"})
    assert not (await theirs.services("admin").notifications.list()).items


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"title": "T"}, "user_id"),
        ({"title": "T", "user_id": new_id(), "role": "agent"}, "role"),
        ({"title": "T", "role": "root"}, "role"),
        ({"title": "", "role": "agent"}, "title"),
        ({"title": "x" * 201, "role": "agent"}, "title"),
        ({"title": 1, "role": "agent"}, "title"),
        ({"title": "T\0", "role": "agent"}, "title"),
        ({"title": "T", "role": "agent", "tenant_id": "another"}, "tenant_id"),
    ],
)
async def test_bad_input_is_named(
    functions: SupabaseFunctions, ours: Tenant, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as failure:
        await functions.invoke(ours["manager"], NAME, arguments)
    assert field in failure.value.fields
