"""The records of the CRM, one family a file."""

from __future__ import annotations

from typing import Any, Final

from interlock.entities.audit import AUDIT, AuditEntry
from interlock.entities.contract import CONTRACTS, Contract
from interlock.entities.customer import CUSTOMERS, TAGS, Customer, Tag
from interlock.entities.deal import DEALS, STAGES, Deal, Stage
from interlock.entities.file import FILES, File
from interlock.entities.notification import NOTIFICATIONS, Notification
from interlock.entities.ticket import COMMENTS, TICKETS, Comment, Ticket
from interlock.entities.user import CREDENTIALS, USERS, Credential, User
from interlock.entity import Entity

__all__ = [
    "AUDIT",
    "COMMENTS",
    "CONTRACTS",
    "CREDENTIALS",
    "CUSTOMERS",
    "DEALS",
    "ENTITIES",
    "FILES",
    "NOTIFICATIONS",
    "STAGES",
    "TAGS",
    "TICKETS",
    "USERS",
    "AuditEntry",
    "Comment",
    "Contract",
    "Credential",
    "Customer",
    "Deal",
    "File",
    "Notification",
    "Stage",
    "Tag",
    "Ticket",
    "User",
]

ENTITIES: Final[tuple[Entity[Any], ...]] = (
    CUSTOMERS,
    TAGS,
    STAGES,
    DEALS,
    TICKETS,
    COMMENTS,
    CONTRACTS,
    USERS,
    CREDENTIALS,
    NOTIFICATIONS,
    FILES,
    AUDIT,
)
"""All of them; a target of a reference within a service comes before its source."""
