"""Users: unique addresses, and an active admin always remains."""

from __future__ import annotations

import asyncio

import pytest

from interlock.contract import Identity
from interlock.errors import Duplicate, InterlockError, Invalid

from .harness import World

pytestmark = pytest.mark.anyio


class Recovery:
    """Records whom a magic link was sent to."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def request_magic_link(self, email: str) -> None:
        self.sent.append(email)


async def test_inviting(world: World) -> None:
    recovery = Recovery()
    world.authenticate_by(recovery)
    user = await world.admin.users.invite("New@acme.test", "Newcomer", "viewer")
    assert (user.role, user.active, recovery.sent) == ("viewer", True, ["New@acme.test"])
    with pytest.raises(Duplicate, match="email"):
        await world.admin.users.invite("new@ACME.test", "Again")


async def test_the_last_admin_stays(world: World) -> None:
    users = world.admin.users
    admin = world.users["admin"].id
    system = world.as_("system").users
    for change in (
        users.set_role(admin, "viewer"),
        system.set_role(admin, "viewer"),
        system.deactivate(admin),
        system.delete(admin),
        system.update(admin, active=False, role="agent"),
    ):
        with pytest.raises(Invalid, match="last active admin"):
            await change
    with pytest.raises(Invalid, match="last active admin"):
        await system.bulk_delete([admin, world.users["viewer"].id])
    assert await users.get(admin) == world.users["admin"]
    assert (await users.get(world.users["viewer"].id)).active


async def test_nobody_removes_themselves(world: World) -> None:
    await world.admin.users.set_role(world.users["manager"].id, "admin")
    for change in (
        world.admin.users.deactivate(world.users["admin"].id),
        world.admin.users.delete(world.users["admin"].id),
    ):
        with pytest.raises(Invalid, match="themselves"):
            await change
    assert (await world.admin.users.set_role(world.users["admin"].id, "agent")).role == "agent"


async def test_another_admin_may_go(world: World) -> None:
    users = world.admin.users
    other = await users.create(email="o@acme.test", display_name="O", role="admin")
    assert not (await users.deactivate(other.id)).active
    assert (await users.delete(other.id)).deleted_at is not None
    assert (await users.deactivate(world.users["viewer"].id)).active is False


async def test_two_admins_who_remove_each_other_at_once_leave_one(world: World) -> None:
    first = world.admin.users
    second = await first.create(email="second@acme.test", display_name="Second", role="admin")
    world.identities["second"] = Identity(second.id, world.identities["admin"].tenant_id, "admin")
    others = world.as_("second").users
    for undo, one, other in (
        ({"role": "admin"}, first.set_role(second.id, "agent"), others.set_role(world.users["admin"].id, "agent")),
        ({"active": True}, first.deactivate(second.id), others.deactivate(world.users["admin"].id)),
    ):
        results = await asyncio.gather(one, other, return_exceptions=True)
        # Who has just lost the role may be told so instead, by a backend that looks at it again.
        assert all(isinstance(result, InterlockError) for result in results if isinstance(result, BaseException))
        admins = await world.as_("system").users.list(role="admin", active=True)
        assert len(admins) >= 1
        for user in (second.id, world.users["admin"].id):
            await world.as_("system").users.update(user, undo)


async def test_two_admins_who_delete_each_other_at_once_leave_one(world: World) -> None:
    first = world.admin.users
    second = await first.create(email="second@acme.test", display_name="Second", role="admin")
    world.identities["second"] = Identity(second.id, world.identities["admin"].tenant_id, "admin")
    results = await asyncio.gather(
        first.delete(second.id), world.as_("second").users.delete(world.users["admin"].id), return_exceptions=True
    )
    assert any(isinstance(result, InterlockError) for result in results)
    assert len(await world.as_("system").users.list(role="admin", active=True)) >= 1


async def test_bulk_demotion_leaves_an_admin(world: World) -> None:
    users = world.as_("system").users
    second = await users.create(email="second@acme.test", display_name="Second", role="admin")
    outcomes = await users.bulk_update([second.id, world.users["admin"].id], {"role": "viewer"})
    assert [outcome.ok for outcome in outcomes] == [True, False]
