"""The people of a tenant: invited, given roles, and let go, with an admin always left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

from interlock.abilities import RecoversAccounts
from interlock.contract import Condition, Group, Identity, Outcome
from interlock.entities.user import USERS, User, UserRole
from interlock.errors import Invalid, Unsupported
from interlock.services.base import Context
from interlock.services.rules import RuledService

__all__ = ["Users"]

_LAST: Final = "this is the last active admin; make somebody else an admin first"


class Users(RuledService[User]):
    """Users. Nobody deactivates or deletes themselves, and an active admin always remains."""

    _ruled: ClassVar[frozenset[str]] = frozenset({"role", "active"})

    def __init__(self, context: Context) -> None:
        super().__init__(USERS, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def invite(
        self, email: str, display_name: str, role: UserRole = "agent", *, operation_id: str | None = None
    ) -> User:
        """A new user, and a message with a link to log in, where the backend of `auth` sends one.

        Raises `Duplicate` for an address that has a user in the tenant.
        """
        user = await self.create(email=email, display_name=display_name, role=role, operation_id=operation_id)
        try:
            recovery = self.context.route("auth").ability(RecoversAccounts)
        except Unsupported:
            return user
        await recovery.request_magic_link(email)
        return user

    async def set_role(self, id: str, role: UserRole, *, operation_id: str | None = None) -> User:
        """Give the user another role. Raises `Invalid` where no active admin would remain."""
        return await self.update(id, role=role, operation_id=operation_id)

    async def deactivate(self, id: str, *, operation_id: str | None = None) -> User:
        """The user may not log in any more. Raises `Invalid` for oneself, and where no active admin would remain."""
        return await self.update(id, active=False, operation_id=operation_id)

    async def delete(self, id: str, *, expected_version: int | None = None, operation_id: str | None = None) -> User:
        """The user, now deleted. Raises `Invalid` for oneself, and where no active admin would remain."""
        deleted = await super().delete(id, expected_version=expected_version, operation_id=operation_id)
        if _rules(deleted) and not await self._admins():
            await self.restore(id)  # two admins deleted each other at once: both stay
            raise Invalid({"id": _LAST})
        return deleted

    async def bulk_delete(
        self, ids: Iterable[str], *, expected_version: int | None = None, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per id, in order. The checks of `delete` hold for all of them together."""
        outcomes = await super().bulk_delete(ids, expected_version=expected_version, operation_id=operation_id)
        admins = [outcome.id for outcome in outcomes if isinstance(outcome.row, User) and _rules(outcome.row)]
        if admins and not await self._admins():
            for gone in admins:
                await self.restore(gone)
            raise Invalid({"id": _LAST})
        return outcomes

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _rule(self, current: User, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        if current.active and patch.get("active") is False:
            self._check_other((current.id,), "active")
        if _rules(current) and not _rules(current, patch) and not await self._admins(without=(current.id,)):
            raise Invalid({"role" if patch.get("active", True) else "active": _LAST})
        return patch

    async def _judged(
        self, identity: Identity, id: str, patch: Mapping[str, Any], expected: int | None, operation_id: str | None
    ) -> Outcome:
        before = await self.get_many((id,))
        outcome = await super()._judged(identity, id, patch, expected, operation_id)
        demoted = any(map(_rules, before)) and isinstance(outcome.row, User) and not _rules(outcome.row)
        if demoted and not await self._admins():  # two admins demoted each other at once: both stay
            await super()._judged(identity, id, {"role": "admin", "active": True}, None, None)
            return Outcome(id, error=Invalid({"role": _LAST}))
        return outcome

    async def _check_delete(self, ids: tuple[str, ...]) -> None:
        self._check_other(ids, "id")
        if any(map(_rules, await self.get_many(ids))) and not await self._admins(without=ids):
            raise Invalid({"id": _LAST})

    def _check_other(self, ids: tuple[str, ...], field: str) -> None:
        if self.context.identity.user_id in ids:
            raise Invalid({field: "nobody deactivates or deletes themselves; ask another admin"})

    async def _admins(self, *, without: tuple[str, ...] = ()) -> bool:
        """True where an active admin remains."""
        others = () if not without else (Condition("id", "nin", without),)
        where = Group("and", (Condition("role", "eq", "admin"), Condition("active", "eq", True), *others))
        return bool((await self.list(where, limit=1)).items)


def _rules(user: User, patch: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """True for an active admin, as the user stands or with the patch."""
    return patch.get("role", user.role) == "admin" and bool(patch.get("active", user.active))
