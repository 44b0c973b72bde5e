"""What makes two reads the same: the key of the cache and of single-flight."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final, Literal, Protocol, runtime_checkable

from interlock.contract import Identity, Request, Response

__all__ = ["Keeps", "Keyed", "Scope", "Varies", "namespace_of", "read_key", "scope_of"]

Varies = Literal["tenant", "role", "user"]
"""Whom an answer is the same for: everybody of the tenant, everybody of a role in it, or one user."""

Scope = tuple[str, str]
"""Tenant and resource: what one write invalidates."""


@runtime_checkable
class Keyed(Protocol):
    """A layer that takes a read with its scope and key, where the layer around it has made them for the same `varies`; with None for none."""

    @property
    def varies(self) -> Varies | None:
        """Whom its answers are the same for."""
        ...

    async def handle_keyed(self, request: Request, scope: Scope, key: Hashable) -> Response:
        """The answer of `handle`."""
        ...


@runtime_checkable
class Keeps(Protocol):
    """A layer that may have an answer at hand."""

    def at_hand(self, request: Request) -> Response | None:
        """The answer of `handle` without waiting; None where `handle` has to be asked."""
        ...


def _of_tenant(identity: Identity) -> Hashable:
    return ""


def _of_role(identity: Identity) -> Hashable:
    return identity.role


def _of_user(identity: Identity) -> Hashable:
    return (identity.user_id, identity.role)


_SHARED: Final[dict[Varies, Callable[[Identity], Hashable]]] = {
    "tenant": _of_tenant,
    "role": _of_role,
    "user": _of_user,
}


def namespace_of(varies: Varies) -> Callable[[Identity], Hashable]:
    """What of the identity, beside its tenant, an answer depends on."""
    return _SHARED[varies]


def scope_of(request: Request) -> Scope:
    """What the request reads or writes."""
    return (request.identity.tenant_id, request.resource)


def read_key(request: Request, whose: Hashable) -> Hashable:
    """Equal for reads that have one answer. Raises `TypeError` for a filter value that cannot be hashed: such a read is not shared.

    Values of a field have one type (they are checked), so that 1 and True never meet here.
    """
    if request.verb == "get":
        query = request.query
        return (whose, "get", request.ids, "without" if query is None else query.deleted)
    key = (whose, request.verb, request.query, request.aggregate)
    hash(key)
    return key
