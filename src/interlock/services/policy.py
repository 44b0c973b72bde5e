"""Who may do what: one table, from role and resource to the actions allowed.

==========  ==========================================================================================================
viewer      reads everything but the audit trail; marks their own notifications read
agent       also writes customers, tags, deals, tickets, comments, contracts, files and notifications, one at a time
manager     also deletes, restores, works in bulk, imports, exports, merges, keeps the stages, and reads the audit trail
admin       also keeps the users and switches backends
system      everything, for Interlock's own work; no user has it
==========  ==========================================================================================================

A resource that the table doesn't name (a service of your own) is treated as customers are. What a record's own rules say (one's
own notifications, the last admin) stands in its service.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from interlock.contract import Identity, Role
from interlock.errors import Forbidden

__all__ = ["able", "allowed", "check"]

_NONE: Final[frozenset[str]] = frozenset()
_READ: Final = frozenset({"list", "get"})
"""`list` stands for every read by query: list, search, aggregate, changes."""
_OWN: Final = _READ | {"update", "bulk_update"}
_WRITE: Final = _READ | {"create", "update"}
_KEEP: Final = _WRITE | {"delete", "restore", "bulk_create", "bulk_update", "bulk_delete", "import", "export", "merge"}
_ALL: Final = _KEEP | {"put", "switch"}

_OTHERS: Final = "*"

_TABLE: Final[Mapping[Role, Mapping[str, frozenset[str]]]] = MappingProxyType(
    {
        "viewer": {_OTHERS: _READ, "notifications": _OWN, "audit": _NONE, "credentials": _NONE, "routes": _NONE},
        "agent": {
            _OTHERS: _WRITE,
            "notifications": _OWN | {"create"},
            "stages": _READ,
            "users": _READ,
            "audit": _NONE,
            "credentials": _NONE,
            "routes": _NONE,
        },
        "manager": {_OTHERS: _KEEP, "users": _READ, "audit": _READ, "credentials": _NONE, "routes": _NONE},
        "admin": {_OTHERS: _KEEP, "audit": _READ, "credentials": _NONE, "routes": _READ | {"switch"}},
        "system": {_OTHERS: _ALL},
    }
)


def allowed(role: Role, resource: str) -> frozenset[str]:
    """The actions that a role may take on a resource; none for a role that does not exist."""
    rows = _TABLE.get(role)
    if rows is None:
        return _NONE
    return rows.get(resource) or (_NONE if resource in rows else rows[_OTHERS])


def able(resource: str, action: str) -> frozenset[Role]:
    """The roles that may take an action on a resource: what a generated schema writes into its policies."""
    return frozenset(role for role in get_args(Role) if action in allowed(role, resource))


def check(identity: Identity, resource: str, action: str) -> None:
    """Raise `Forbidden` unless the identity's role may take the action on the resource."""
    if action not in allowed(identity.role, resource):
        raise Forbidden(f"{resource}: the role {identity.role} may not {action}; ask {_who(resource, action)}")


def _who(resource: str, action: str) -> str:
    able: tuple[Role, ...] = ("agent", "manager", "admin")
    for role in able:
        if action in allowed(role, resource):
            return f"somebody with the role {role}"
    return "nobody: only Interlock itself does this"
