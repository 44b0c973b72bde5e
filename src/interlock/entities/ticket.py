"""Support tickets and their comments."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from interlock.contract import Record
from interlock.entities.types import Long, Name, Short
from interlock.entity import Entity, Reference

__all__ = ["COMMENTS", "TICKETS", "Comment", "Ticket", "TicketPriority", "TicketStatus"]

TicketStatus = Literal["open", "in_progress", "waiting", "resolved", "closed"]
TicketPriority = Literal["low", "normal", "high", "urgent"]


class Ticket(Record, frozen=True, kw_only=True, rename="camel"):
    """Something a customer asked for. `number` counts per tenant and is the backend's."""

    number: int = 0
    subject: Name
    description: Long | None = None
    customer_id: str | None = None
    status: TicketStatus = "open"
    priority: TicketPriority = "normal"
    category: Short | None = None
    assigned_to: str | None = None
    due_at: datetime | None = None
    resolved_at: datetime | None = None


TICKETS = Entity(
    Ticket,
    resource="tickets",
    searchable=("subject", "description"),
    references=(Reference("customer_id", "customers"), Reference("assigned_to", "users")),
    sequence="number",
)


class Comment(Record, frozen=True, kw_only=True, rename="camel"):
    """What somebody said about a ticket."""

    ticket_id: str
    body: Long
    internal: bool = False


COMMENTS = Entity(
    Comment,
    resource="comments",
    service="tickets",
    searchable=("body",),
    references=(Reference("ticket_id", "tickets", parent=True),),
)
