"""The people of a tenant, and their secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from interlock.contract import Record
from interlock.entities.types import Email, Name
from interlock.entity import Entity, Reference, Unique

__all__ = ["CREDENTIALS", "USERS", "Credential", "User", "UserRole"]

UserRole = Literal["admin", "manager", "agent", "viewer"]


class User(Record, frozen=True, kw_only=True, rename="camel"):
    """Somebody who may log in."""

    email: Email
    display_name: Name
    role: UserRole = "agent"
    active: bool = True
    last_seen_at: datetime | None = None


USERS = Entity(User, resource="users", searchable=("email", "display_name"), unique=(Unique("email", folded=True),))


class Credential(Record, frozen=True, kw_only=True, rename="camel"):
    """What proves who somebody is, on backends that keep it themselves. No edge serves it.

    `kind` is password, refresh, magic_link or reset; `lookup` finds it (by user, or by the digest of the token), `secret`
    is a salted hash, never the thing itself.
    """

    user_id: str
    kind: Literal["password", "refresh", "magic_link", "reset"]
    lookup: str
    secret: str = ""
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Credential(id={self.id!r}, kind={self.kind!r}, secrets hidden)"


CREDENTIALS = Entity(
    Credential,
    resource="credentials",
    service="auth",
    unique=(Unique("lookup"),),
    references=(Reference("user_id", "users"),),
    internal=True,
)
