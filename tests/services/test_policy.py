"""Roles: what each may do, and that nobody may do more."""

from __future__ import annotations

import pytest

from interlock.contract import Identity, Role
from interlock.errors import Forbidden
from interlock.services.policy import allowed, check

from .harness import World

pytestmark = pytest.mark.anyio

RESOURCES = ("customers", "tags", "deals", "stages", "tickets", "comments", "contracts", "users", "files")
WRITES = ("create", "update", "delete", "restore", "bulk_create", "bulk_update", "bulk_delete")


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_viewer_only_reads(resource: str) -> None:
    assert allowed("viewer", resource) == {"list", "get"}


@pytest.mark.parametrize(
    "resource", ["customers", "deals", "tickets", "comments", "contracts", "files", "tags", "projects"]
)
def test_an_agent_writes_one_at_a_time(resource: str) -> None:
    assert allowed("agent", resource) == {"list", "get", "create", "update"}


def test_an_agent_keeps_neither_users_nor_stages_nor_sees_the_trail() -> None:
    assert allowed("agent", "users") == allowed("agent", "stages") == {"list", "get"}
    assert allowed("agent", "audit") == frozenset()


def test_a_manager_keeps_all_but_users_and_switches_nothing() -> None:
    assert set(WRITES) | {"import", "export", "merge"} <= allowed("manager", "customers")
    assert allowed("manager", "users") == {"list", "get"}
    assert allowed("manager", "audit") == {"list", "get"}
    assert "switch" not in allowed("manager", "routes")


def test_an_admin_keeps_users_and_switches_but_does_not_write_the_trail() -> None:
    assert set(WRITES) <= allowed("admin", "users")
    assert "switch" in allowed("admin", "routes")
    assert allowed("admin", "audit") == {"list", "get"}


@pytest.mark.parametrize("role", ["viewer", "agent", "manager", "admin"])
def test_no_user_sees_credentials_or_replicates(role: Role) -> None:
    assert allowed(role, "credentials") == frozenset()
    assert all("put" not in allowed(role, resource) for resource in (*RESOURCES, "audit", "notifications"))


def test_the_refusal_says_who_may() -> None:
    with pytest.raises(Forbidden, match="the role agent may not delete; ask somebody with the role manager"):
        check(Identity("u", "t", "agent"), "customers", "delete")


def test_a_role_that_does_not_exist_may_nothing() -> None:
    with pytest.raises(Forbidden):
        check(Identity("u", "t", "owner"), "customers", "list")  # type: ignore[arg-type]  # as from a forged token


async def test_services_ask_the_policy(memory: World) -> None:
    with pytest.raises(Forbidden):
        await memory.viewer.customers.create(company_name="A")
    customer = await memory.agent.customers.create(company_name="A")
    assert await memory.viewer.customers.get(customer.id) == customer
    with pytest.raises(Forbidden):
        await memory.agent.customers.delete(customer.id)
    with pytest.raises(Forbidden):
        await memory.agent.customers.bulk_delete([customer.id])
    with pytest.raises(Forbidden):
        await memory.agent.customers.merge(customer.id, [customer.id])
    with pytest.raises(Forbidden):
        await memory.agent.audit.list()
    with pytest.raises(Forbidden):
        await memory.manager.users.create(email="x@y.z", display_name="X")
    await memory.manager.customers.delete(customer.id)
