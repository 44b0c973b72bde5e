"""Support tickets: numbered, assigned, and moved along declared transitions."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from interlock.contract import DEFAULT_LIMIT, Page
from interlock.entities.ticket import TICKETS, Comment, Ticket
from interlock.errors import Forbidden, Invalid
from interlock.services.base import Context, EntityService
from interlock.services.rules import RuledService, Transitions

__all__ = ["OPEN", "TRANSITIONS", "Comments", "Tickets"]

TRANSITIONS: Final = Transitions(
    "status",
    MappingProxyType(
        {
            "open": ("in_progress", "waiting", "resolved", "closed"),
            "in_progress": ("open", "waiting", "resolved", "closed"),
            "waiting": ("open", "in_progress", "resolved", "closed"),
            "resolved": ("open", "closed"),
            "closed": ("open",),
        }
    ),
)
"""A new ticket may start in any status, as imported history does; from then on it moves along this table."""

OPEN: Final = ("open", "in_progress", "waiting")
"""The statuses of a ticket that still needs work."""


class Comments(RuledService[Comment]):
    """Comments of tickets. Their author may edit them, and managers may."""

    _ruled: ClassVar[frozenset[str]] = frozenset({"ticket_id", "body", "internal"})

    async def _rule(self, current: Comment, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        identity = self.context.identity
        if current.created_by != identity.user_id and identity.role not in ("manager", "admin", "system"):
            raise Forbidden("comments: only their author or a manager may edit them")
        if patch.get("ticket_id", current.ticket_id) != current.ticket_id:
            raise Invalid({"ticket_id": "stays; write a new comment on the other ticket"})
        return patch


class Tickets(RuledService[Ticket]):
    """Tickets. `resolved_at` follows the status: set when work ends, cleared when it starts again."""

    parts: ClassVar[Mapping[str, type[EntityService[Any]]]] = MappingProxyType({"comments": Comments})
    _ruled: ClassVar[frozenset[str]] = frozenset({"status", "resolved_at", "assigned_to"})

    def __init__(self, context: Context) -> None:
        super().__init__(TICKETS, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def assign(self, id: str, user_id: str | None, *, operation_id: str | None = None) -> Ticket:
        """Give the ticket to an active user, or to nobody."""
        return await self.update(id, assigned_to=user_id, operation_id=operation_id)

    async def resolve(self, id: str, *, operation_id: str | None = None) -> Ticket:
        """The work is done. Raises `Invalid` for a closed ticket."""
        return await self.update(id, status="resolved", operation_id=operation_id)

    async def reopen(self, id: str, *, operation_id: str | None = None) -> Ticket:
        """The work starts again."""
        return await self.update(id, status="open", operation_id=operation_id)

    async def overdue(self, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Ticket]:
        """Tickets that still need work and whose time is over, the most urgent first."""
        return await self.list(
            status__in=OPEN, due_at__lt=self.context.now(), sort="due_at", limit=limit, cursor=cursor, count="exact"
        )

    async def comment(self, id: str, body: str, *, internal: bool = False, operation_id: str | None = None) -> Comment:
        """Say something about a ticket; `internal` keeps it from customers."""
        comment: Comment = await self._comments.create(
            ticket_id=id, body=body, internal=internal, operation_id=operation_id
        )
        return comment

    async def comments(self, id: str, *, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[Comment]:
        """What was said about a ticket, the oldest first. Raises `NotFound` for a ticket that is not there."""
        await self.get(id)
        return await self._comments.list(ticket_id=id, sort="created_at", limit=limit, cursor=cursor, count="exact")

    @property
    def _comments(self) -> EntityService[Comment]:
        return self.context.services.of("comments")

    # -- rules ----------------------------------------------------------------------------------------------------

    async def _check_create(self, rows: tuple[Ticket, ...]) -> tuple[Ticket, ...]:
        return tuple([await self._new(row) for row in rows])

    async def _new(self, row: Ticket) -> Ticket:
        await self._check_assignee(row.assigned_to)
        if row.status in OPEN:
            if row.resolved_at is not None:
                raise Invalid({"resolved_at": f"is for resolved and closed tickets, and this one is {row.status}"})
            return row
        return row if row.resolved_at else msgspec.structs.replace(row, resolved_at=self.context.now())

    async def _rule(self, current: Ticket, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        ruled = dict(patch)
        if ruled.get("assigned_to") != current.assigned_to:
            await self._check_assignee(ruled.get("assigned_to"))
        status = ruled.get("status", current.status)
        TRANSITIONS.check(current.status, status)
        given = ruled.pop("resolved_at", current.resolved_at)
        if status in OPEN:
            if given is not None and given != current.resolved_at:
                raise Invalid({"resolved_at": f"is for resolved and closed tickets, and this one is {status}"})
            ruled["resolved_at"] = None
        else:
            ruled["resolved_at"] = given or current.resolved_at or self.context.now()
        return ruled

    async def _check_assignee(self, user_id: str | None) -> None:
        if user_id is None or self.context.references_checked:
            return
        for user in await self.context.services.users.get_many((user_id,)):
            if not user.active:
                raise Invalid({"assigned_to": "this user is not active; choose another"})
