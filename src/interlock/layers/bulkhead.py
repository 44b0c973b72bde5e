"""Bulkheads: a backend that hangs holds at most its own share of the callers."""

from __future__ import annotations

import asyncio
from collections import deque

from interlock.contract import Backend, Request, Response
from interlock.errors import DeadlineExceeded, RateLimited

__all__ = ["Bulkhead"]


class Bulkhead:
    """At most `most` calls at once, and at most `waiting` more that queue for a place, the longest waiting first.

    A call beyond both is `RateLimited` at once, and one whose deadline passes in the queue is `DeadlineExceeded`: neither was sent.
    """

    def __init__(self, inner: Backend, most: int, waiting: int) -> None:
        self._inner = inner.handle
        self._most = most
        self._waiting = waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self.in_use = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, once there is a place."""
        if self.in_use >= self._most:
            await self._place(request)
        else:
            self.in_use += 1
        try:
            return await self._inner(request)
        finally:
            self._leave()

    @property
    def queued(self) -> int:
        """Calls that wait for a place."""
        return sum(not place.done() for place in self._queue)

    async def _place(self, request: Request) -> None:
        if len(self._queue) >= self._waiting:
            raise RateLimited("the backend has as many calls as it may have", retry_after=0.1)
        loop = asyncio.get_running_loop()
        place: asyncio.Future[None] = loop.create_future()
        timer = None
        if request.deadline is not None:
            timer = loop.call_at(request.deadline, _give_up, place)
        self._queue.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._leave()  # the place had just been given, and is not taken
            elif place in self._queue:
                self._queue.remove(place)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        """Hand the place on, or give it back."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_use -= 1


def _give_up(place: asyncio.Future[None]) -> None:
    if not place.done():
        place.set_exception(DeadlineExceeded("the deadline passed while the call waited for its turn; it was not sent"))
