"""How the suite calls a backend: checked requests of a tenant that nobody else uses.

A server may be shared by all tests, for none of them expects more than an empty tenant.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from interlock.contract import (
    Aggregate,
    Backend,
    Condition,
    Deleted,
    Filter,
    GroupBy,
    GroupRow,
    Identity,
    Measure,
    Operator,
    Outcome,
    Query,
    Record,
    Request,
    Response,
    Role,
    Sort,
    Verb,
)
from interlock.entity import Entity
from interlock.errors import Unsupported
from interlock.identifiers import new_id
from interlock.validation import check_aggregate, check_patch, check_query, check_row

__all__ = ["Caller", "Login", "Subject", "accepted", "new_identity", "order", "streamed", "where"]

A = TypeVar("A")
R = TypeVar("R", bound=Record)


class Login(msgspec.Struct, frozen=True):
    """Somebody who can log in at the backend under test. Its repr hides the password."""

    email: str
    password: str
    identity: Identity

    def __repr__(self) -> str:
        return f"Login(email={self.email!r}, password hidden)"


class Subject(msgspec.Struct, frozen=True):
    """A backend under test.

    `abilities` maps an ability's Protocol to what provides it, where that is not the backend itself. `login` is somebody who can
    log in (for `AuthConformance`).
    """

    backend: Backend
    abilities: Mapping[type[Any], Any] = msgspec.field(default_factory=dict)
    login: Login | None = None

    def has(self, wanted: type[Any]) -> bool:
        """True where the ability is there."""
        return wanted in self.abilities or isinstance(self.backend, wanted)

    def ability(self, wanted: type[A]) -> A:
        """What provides an ability. Raises `Unsupported` where nothing does."""
        found = self.abilities.get(wanted, self.backend)
        if wanted not in self.abilities and not isinstance(self.backend, wanted):
            raise Unsupported("the backend under test", wanted.__name__)
        return cast("A", found)


def new_identity(role: Role = "admin", tenant_id: str | None = None) -> Identity:
    """Somebody new, by default in a tenant of their own."""
    user_id = new_id()
    return Identity(user_id, tenant_id or new_id(), role, f"{user_id}@example.test")


def where(field: str, op: Operator, value: Any) -> Condition:
    """A condition."""
    return Condition(field, op, value)


def order(*names: str) -> tuple[Sort, ...]:
    """A sort from names, `-` before the descending ones."""
    return tuple(Sort(name.removeprefix("-"), descending=name.startswith("-")) for name in names)


async def streamed(*chunks: bytes) -> AsyncIterator[bytes]:
    """The chunks, one by one."""
    for chunk in chunks:
        yield chunk


class Caller:
    """Somebody who calls the backend the way services do: everything checked once, an operation id on every write."""

    def __init__(self, subject: Subject, identity: Identity | None = None) -> None:
        self.subject = subject
        self.identity = identity or new_identity()

    def elsewhere(self) -> Caller:
        """Somebody in another tenant, on the same backend."""
        return Caller(self.subject)

    def colleague(self, role: Role = "admin") -> Caller:
        """Somebody else in the same tenant."""
        return Caller(self.subject, new_identity(role, self.identity.tenant_id))

    async def handle(self, request: Request) -> Response:
        """The backend's answer to a request as it is."""
        return await self.subject.backend.handle(request)

    def request(self, verb: Verb, entity: Entity[Any], **parts: Any) -> Request:
        """A request of this caller."""
        return Request(verb, entity.resource, self.identity, **parts)

    # -- reading --------------------------------------------------------------------------------------------------

    async def find(self, entity: Entity[Any], where: Filter | None = None, **parts: Any) -> Response:
        """The answer to a checked query."""
        query = check_query(entity, Query(where=where, **parts))
        return await self.handle(self.request("find", entity, query=query))

    async def ids(self, entity: Entity[Any], where: Filter | None = None, **parts: Any) -> list[str]:
        """The ids that a query finds, in order."""
        return [row.id for row in (await self.find(entity, where, **parts)).rows]

    async def labels(self, entity: Entity[Any], where: Filter | None = None, **parts: Any) -> list[str]:
        """The labels that a query finds, in order."""
        return [row.label for row in (await self.find(entity, where, **parts)).rows]

    async def get(self, entity: Entity[R], *ids: str, deleted: Deleted = "without") -> tuple[R, ...]:
        """The rows of the ids that are there."""
        return (await self.handle(self.request("get", entity, ids=ids, query=Query(deleted=deleted)))).rows

    async def one(self, entity: Entity[R], id: str, *, deleted: Deleted = "without") -> R:
        """The row of an id that is there."""
        rows = await self.get(entity, id, deleted=deleted)
        assert len(rows) == 1, f"expected one row for {id}, got {len(rows)}"
        return rows[0]

    async def aggregate(
        self,
        entity: Entity[Any],
        group_by: Sequence[str | GroupBy] = (),
        measures: Sequence[Measure] = (Measure("count"),),
        where: Filter | None = None,
        **parts: Any,
    ) -> tuple[GroupRow, ...]:
        """The groups of a checked aggregate."""
        groups = tuple(GroupBy(group) if isinstance(group, str) else group for group in group_by)
        aggregate = check_aggregate(entity, Aggregate(groups, tuple(measures)))
        query = check_query(entity, Query(where=where, **parts))
        return (await self.handle(self.request("aggregate", entity, query=query, aggregate=aggregate))).groups

    # -- writing --------------------------------------------------------------------------------------------------

    async def create(
        self, entity: Entity[R], rows: Iterable[R | Mapping[str, Any]], *, operation_id: str | None = None
    ) -> tuple[Outcome, ...]:
        """One outcome per row."""
        checked = tuple(check_row(entity, row) for row in rows)
        return await self._write("create", entity, operation_id, rows=checked)

    async def update(
        self,
        entity: Entity[Any],
        ids: str | Sequence[str],
        patch: Mapping[str, Any],
        *,
        expected_version: int | None = None,
        operation_id: str | None = None,
    ) -> tuple[Outcome, ...]:
        """One outcome per id."""
        return await self._write(
            "update",
            entity,
            operation_id,
            ids=_ids(ids),
            patch=check_patch(entity, patch),
            expected_version=expected_version,
        )

    async def delete(
        self,
        entity: Entity[Any],
        ids: str | Sequence[str],
        *,
        expected_version: int | None = None,
        operation_id: str | None = None,
    ) -> tuple[Outcome, ...]:
        """One outcome per id."""
        return await self._write("delete", entity, operation_id, ids=_ids(ids), expected_version=expected_version)

    async def restore(
        self,
        entity: Entity[Any],
        ids: str | Sequence[str],
        *,
        expected_version: int | None = None,
        operation_id: str | None = None,
    ) -> tuple[Outcome, ...]:
        """One outcome per id."""
        return await self._write("restore", entity, operation_id, ids=_ids(ids), expected_version=expected_version)

    async def put(self, entity: Entity[R], *rows: R, sequence: int) -> tuple[Outcome, ...]:
        """One outcome per exact image."""
        system = Caller(self.subject, msgspec.structs.replace(self.identity, role="system"))
        return await system._write("put", entity, "", rows=rows, sequence=sequence)

    async def _write(
        self, verb: Verb, entity: Entity[Any], operation_id: str | None, **parts: Any
    ) -> tuple[Outcome, ...]:
        minted = new_id() if operation_id is None else operation_id
        request = self.request(verb, entity, operation_id=minted, **parts)
        outcomes = (await self.handle(request)).outcomes
        asked = request.ids or tuple(row.id for row in request.rows)
        assert tuple(outcome.id for outcome in outcomes) == asked, "a write answers one outcome per item, in order"
        return outcomes

    # -- shorthands that expect success ---------------------------------------------------------------------------

    async def add(self, entity: Entity[R], **fields: Any) -> R:
        """A new row."""
        return (await self.add_all(entity, fields))[0]

    async def add_all(self, entity: Entity[R], *rows: R | Mapping[str, Any]) -> tuple[R, ...]:
        """New rows, in order."""
        return tuple(accepted(entity, outcome) for outcome in await self.create(entity, rows))

    async def change(self, row: R, entity: Entity[R], **patch: Any) -> R:
        """The row after an accepted patch."""
        (outcome,) = await self.update(entity, row.id, patch)
        return accepted(entity, outcome)

    async def remove(self, row: R, entity: Entity[R]) -> R:
        """The row after an accepted delete."""
        (outcome,) = await self.delete(entity, row.id)
        return accepted(entity, outcome)


def accepted(entity: Entity[R], outcome: Outcome) -> R:
    """The row of an accepted item."""
    if outcome.error is not None:
        raise AssertionError(f"expected the write to be accepted: {outcome.error}") from outcome.error
    assert isinstance(outcome.row, entity.record), f"expected a {entity.record.__name__}, got {type(outcome.row)}"
    return outcome.row


def _ids(ids: str | Sequence[str]) -> tuple[str, ...]:
    return (ids,) if isinstance(ids, str) else tuple(ids)
