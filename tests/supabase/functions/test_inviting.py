"""The function invite-user: an admin's invitation becomes a user, an account and a mail, and nothing of anybody else's changes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.supabase.functions.conftest import Tenant

from interlock.backends.supabase.functions import SupabaseFunctions
from interlock.devstack import Stack
from interlock.errors import Duplicate, Forbidden, Invalid
from interlock.identifiers import new_id
from supabase import acreate_client

pytestmark = pytest.mark.anyio

NAME = "invite-user"


def address() -> str:
    return f"{new_id()}@example.test"


async def accounts(stack: Any, email: str) -> list[dict[str, Any]]:
    """The app_metadata of the accounts with this address."""
    admin = (await acreate_client(stack.url, stack.service_key)).auth.admin
    return [user.app_metadata for user in await admin.list_users(per_page=1000) if user.email == email]


async def test_who_is_invited_can_log_in_by_the_mail(
    local_stack: Stack, functions: SupabaseFunctions, ours: Tenant
) -> None:
    email = address()
    got = await functions.invoke(ours["admin"], NAME, {"email": email, "display_name": "Jo", "role": "manager"})
    user = await ours.services().users.get(got["user"]["id"])
    assert (user.email, user.role, user.created_by) == (email, "manager", ours["admin"].user_id)
    (metadata,) = await accounts(local_stack, email)
    assert {"tenant_id": ours.name, "user_id": user.id, "role": "manager"}.items() <= metadata.items()
    (mail,) = [mail for mail in local_stack.mails() if email in str(mail["to"])]
    found = re.search(r"token(?:_hash)?=([\w-]+)", mail["text"] or mail["html"])
    assert found
    client = await acreate_client(local_stack.url, local_stack.anon_key)
    session = await client.auth.verify_otp({"token_hash": found[1], "type": "email"})
    assert session.user is not None
    assert session.user.app_metadata["tenant_id"] == ours.name
    rows: Any = (await client.table("users").select("id").eq("id", user.id).execute()).data
    assert rows == [{"id": user.id}]


async def test_the_same_operation_invites_once(local_stack: Stack, functions: SupabaseFunctions, ours: Tenant) -> None:
    email, operation = address(), new_id()
    arguments = {"email": email, "display_name": "Jo"}
    first = await functions.invoke(ours["admin"], NAME, arguments, operation_id=operation)
    again = await functions.invoke(ours["admin"], NAME, arguments, operation_id=operation)
    assert first["user"]["id"] == again["user"]["id"]
    assert first["user"]["role"] == "agent"
    assert len(await accounts(local_stack, email)) == 1


async def test_an_account_of_another_tenant_stays_theirs(
    local_stack: Stack, functions: SupabaseFunctions, ours: Tenant, theirs: Tenant
) -> None:
    email = address()
    await functions.invoke(theirs["admin"], NAME, {"email": email, "display_name": "Jo"})
    before = await accounts(local_stack, email)
    got = await functions.invoke(ours["admin"], NAME, {"email": email, "display_name": "Jo", "role": "admin"})
    assert got["user"]["tenant_id"] == ours.name
    assert await accounts(local_stack, email) == before
    assert before[0]["tenant_id"] == theirs.name


async def test_an_address_that_has_a_user_is_a_duplicate(functions: SupabaseFunctions, ours: Tenant) -> None:
    taken = ours["viewer"]
    with pytest.raises(Duplicate) as failure:
        await functions.invoke(ours["admin"], NAME, {"email": taken.email.upper(), "display_name": "X"})
    assert (failure.value.field, failure.value.existing_id) == ("email", taken.user_id)


@pytest.mark.parametrize("role", ["viewer", "agent", "manager"])
async def test_only_admins_invite(stack: Any, functions: SupabaseFunctions, ours: Tenant, role: str) -> None:
    email = address()
    with pytest.raises(Forbidden):
        await functions.invoke(ours[role], NAME, {"email": email, "display_name": "X", "role": "admin"})
    assert not await accounts(stack, email)
    assert not (await ours.services().users.list(email=email)).items


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"display_name": "X"}, "email"),
        ({"email": "no address", "display_name": "X"}, "email"),
        ({"email": "a@b.test"}, "display_name"),
        ({"email": "a@b.test", "display_name": "X", "role": "system"}, "role"),
        ({"email": "a@b.test", "display_name": "X", "tenant_id": "t"}, "tenant_id"),
    ],
)
async def test_bad_input_is_named(
    functions: SupabaseFunctions, ours: Tenant, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as failure:
        await functions.invoke(ours["admin"], NAME, arguments)
    assert field in failure.value.fields
