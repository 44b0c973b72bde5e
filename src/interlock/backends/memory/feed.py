"""The accepted writes of one table, for those who watch: a bounded log, and watchers that walk along it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from interlock.contract import Change
from interlock.identifiers import new_id

__all__ = ["Feed"]

KEPT: Final = 1000


class Feed:
    """The last 1000 changes. Positions belong to this feed alone: another instance's position leads to a `resync`."""

    def __init__(self, resource: str) -> None:
        self.resource = resource
        self._name = new_id()
        self._changes: deque[Change] = deque(maxlen=KEPT)
        self._head = 0
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def publish(self, change: Change) -> None:
        """Add a change and wake the watchers."""
        self._head += 1
        self._changes.append(msgspec.structs.replace(change, position=self._position(self._head)))
        self._wake()

    def close(self) -> None:
        """End every watch."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    def watch(self, after: str | None) -> AsyncIterator[Change]:
        """The changes after a position, or from now on."""
        return self._walk(self._head if after is None else self._number(after))

    async def _walk(self, seen: int) -> AsyncIterator[Change]:
        while True:
            oldest = self._head - len(self._changes)
            if not oldest <= seen <= self._head:
                seen = self._head
                yield Change(kind="resync", resource=self.resource, position=self._position(seen))
            elif seen < self._head:
                seen += 1
                yield self._changes[seen - oldest - 1]
            elif self._closed:
                return
            else:
                await self._next()

    async def _next(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _position(self, number: int) -> str:
        return f"{self._name}.{number}"

    def _number(self, position: str) -> int:
        name, _, number = position.rpartition(".")
        return int(number) if name == self._name and number.isascii() and number.isdigit() else -1
