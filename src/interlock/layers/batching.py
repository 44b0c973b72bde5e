"""Batching: gets of one moment and one caller travel together."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable

import msgspec

from interlock.contract import Backend, Record, Request, Response
from interlock.errors import DeadlineExceeded, InterlockError

__all__ = ["Batch"]


class Batch:
    """Gets that one identity asks for within a turn of the event loop become one get of all their ids, at most `most` of them.

    Each caller is answered by id, in the order asked. Where the common call is refused (not where the backend is away), each is called alone, so that one bad id
    fails alone. A caller that leaves drops out.
    """

    def __init__(self, inner: Backend, *, most: int = 200) -> None:
        self._inner = inner.handle
        self._most = most
        self._open: dict[Hashable, _Gathering] = {}
        self._tasks: set[asyncio.Future[None]] = set()

    async def handle(self, request: Request) -> Response:
        """The inner answer, or this caller's part of a common one."""
        if request.verb != "get" or not 0 < len(request.ids) < self._most:
            return await self._inner(request)
        deleted = "without" if request.query is None else request.query.deleted
        key = (request.identity, request.resource, deleted, request.epoch)
        gathering = self._open.get(key)
        if gathering is not None and gathering.size + len(request.ids) > self._most:
            self._close(key, gathering)
            gathering = None
        loop = asyncio.get_running_loop()
        if gathering is None:
            gathering = self._open[key] = _Gathering()
            loop.call_soon(self._close, key, gathering)
        place: asyncio.Future[Response] = loop.create_future()
        gathering.add(request, place)
        timer = None if request.deadline is None else loop.call_at(request.deadline, _late, place)
        try:
            return await place
        finally:
            if timer is not None:
                timer.cancel()

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _close(self, key: Hashable, gathering: _Gathering) -> None:
        """Nobody more joins; what has gathered is sent."""
        if gathering.closed:
            return
        gathering.closed = True
        if self._open.get(key) is gathering:
            del self._open[key]
        task = asyncio.ensure_future(self._send(gathering))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, gathering: _Gathering) -> None:
        asked = [(request, place) for request, place in gathering.asked if not place.done()]
        if not asked:
            return
        if len(asked) == 1:
            await self._alone(*asked[0])
            return
        ids = tuple(dict.fromkeys(record_id for request, _ in asked for record_id in request.ids))
        deadlines = [request.deadline for request, _ in asked]
        latest = max((d for d in deadlines if d is not None), default=None) if None not in deadlines else None
        common = msgspec.structs.replace(asked[0][0], ids=ids, deadline=latest)
        try:
            answer = await self._inner(common)
        except InterlockError as error:
            if error.status < 500:
                await asyncio.gather(*(self._alone(request, place) for request, place in asked))
                return
            for _, place in asked:
                _fail(place, error)
            return
        except BaseException as error:
            for _, place in asked:
                _fail(place, error)
            raise
        rows: dict[str, Record] = {row.id: row for row in answer.rows}
        for request, place in asked:
            if not place.done():
                found = tuple(rows[one] for one in dict.fromkeys(request.ids) if one in rows)
                place.set_result(msgspec.structs.replace(answer, rows=found))

    async def _alone(self, request: Request, place: asyncio.Future[Response]) -> None:
        try:
            answer = await self._inner(request)
        except BaseException as error:  # noqa: BLE001 - it is handed to who waits
            _fail(place, error)
        else:
            if not place.done():
                place.set_result(answer)


class _Gathering:
    """Gets that will be sent as one."""

    __slots__ = ("asked", "closed", "size")

    def __init__(self) -> None:
        self.asked: list[tuple[Request, asyncio.Future[Response]]] = []
        self.size = 0
        self.closed = False

    def add(self, request: Request, place: asyncio.Future[Response]) -> None:
        self.asked.append((request, place))
        self.size += len(request.ids)


def _fail(place: asyncio.Future[Response], error: BaseException) -> None:
    if place.done():
        return
    if isinstance(error, asyncio.CancelledError):
        place.cancel()
    else:
        place.set_exception(error)


def _late(place: asyncio.Future[Response]) -> None:
    if not place.done():
        place.set_exception(DeadlineExceeded())
