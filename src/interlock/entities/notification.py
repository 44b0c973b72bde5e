"""Messages to users."""

from __future__ import annotations

from datetime import datetime

from interlock.contract import Record
from interlock.entities.types import Long, Name, Short
from interlock.entity import Entity, Reference

__all__ = ["NOTIFICATIONS", "Notification"]


class Notification(Record, frozen=True, kw_only=True, rename="camel"):
    """Something that a user should know. Unread while `read_at` is null."""

    user_id: str
    kind: Name
    title: Name
    body: Long | None = None
    link: Short | None = None
    read_at: datetime | None = None


NOTIFICATIONS = Entity(
    Notification,
    resource="notifications",
    searchable=("title", "body"),
    references=(Reference("user_id", "users"),),
)
