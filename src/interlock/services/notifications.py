"""Messages to users: everybody reads their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Any, ClassVar, Final

from interlock.contract import MAX_LIMIT, Change, Condition, Filter
from interlock.entities.notification import NOTIFICATIONS, Notification
from interlock.errors import Forbidden, NotFound
from interlock.services.base import Context
from interlock.services.rules import RuledService

__all__ = ["Notifications"]

_ALL_SEEING: Final = ("admin", "system")


class Notifications(RuledService[Notification]):
    """Notifications. One of somebody else is not found, except for admins; who got one may only mark it."""

    _ruled: ClassVar[frozenset[str]] = frozenset(NOTIFICATIONS.writable)

    def __init__(self, context: Context) -> None:
        super().__init__(NOTIFICATIONS, context)

    # -- actions --------------------------------------------------------------------------------------------------

    async def unread_count(self) -> int:
        """How many of one's own are unread."""
        page = await self.list(user_id=self.context.identity.user_id, read_at=None, limit=1, count="exact")
        return page.total or 0

    async def mark_read(self, id: str) -> Notification:
        """Mark one as read, now; one that was read stays as it is."""
        current = await self.get(id)
        return current if current.read_at else await self.update(id, read_at=self.context.now())

    async def mark_all_read(self) -> int:
        """Mark all of one's own as read, now. Answers how many were not."""
        marked = 0
        while True:
            page = await self.list(user_id=self.context.identity.user_id, read_at=None, limit=MAX_LIMIT, sort="id")
            if not page.items:
                return marked
            identity = self._allowed("update")
            patch = MappingProxyType({"read_at": self.context.now()})
            answer = await self._write("update", identity, None, ids=tuple(row.id for row in page.items), patch=patch)
            done = sum(outcome.ok for outcome in answer.outcomes)
            marked += done
            if not done:
                return marked

    async def live(self, after: str | None = None) -> AsyncIterator[Change]:
        """One's own notifications as they come and change, also for admins. A `resync` change means: read again."""
        own = self.context.identity.user_id
        async with aclosing(self.changes(after)) as changes:
            async for change in changes:
                if change.kind == "resync" or (change.row is not None and change.row.user_id == own):
                    yield change

    # -- rules ----------------------------------------------------------------------------------------------------

    def _visible(self, row: Notification) -> bool:
        identity = self.context.identity
        return identity.role in _ALL_SEEING or row.user_id == identity.user_id

    def _scope(self) -> Filter | None:
        identity = self.context.identity
        return None if identity.role in _ALL_SEEING else Condition("user_id", "eq", identity.user_id)

    async def _rule(self, current: Notification, patch: Mapping[str, Any]) -> Mapping[str, Any]:
        changed = {name for name, value in patch.items() if getattr(current, name) != value}
        if changed - {"read_at"} and self.context.identity.role not in _ALL_SEEING:
            raise Forbidden("notifications: who got one may mark it read or unread, and nothing else")
        return patch

    async def _check_delete(self, ids: tuple[str, ...]) -> None:
        await self._check_own(ids)

    async def _check_restore(self, ids: tuple[str, ...]) -> None:
        await self._check_own(ids)

    async def _check_own(self, ids: tuple[str, ...]) -> None:
        """Raise `NotFound` for one that exists and is somebody else's; what is not there is the backend's to say."""
        if self.context.identity.role in _ALL_SEEING:
            return
        seen = {row.id for row in await self.get_many(ids, deleted="with")}
        for wanted in ids:
            if wanted not in seen:
                raise NotFound(self.entity.resource, wanted)
