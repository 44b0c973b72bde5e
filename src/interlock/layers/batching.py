"""Batching: gets of one moment and one caller travel together."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Protocol, runtime_checkable

import msgspec

from interlock.contract import Backend, Record, Request, Response
from interlock.errors import DeadlineExceeded, InterlockError

__all__ = ["Batch", "Gathering", "Gathers", "Place"]


class Place(Protocol):
    """Where an answer is put. A future is one."""

    def done(self) -> bool:
        """True where there is an answer, or nobody who wants it."""
        ...

    def set_result(self, result: Response, /) -> object:
        """Put the answer."""
        ...

    def set_exception(self, exception: BaseException, /) -> object:
        """Put the error."""
        ...

    def cancel(self) -> object:
        """There will be no answer."""
        ...


@runtime_checkable
class Gathers(Protocol):
    """A layer that calls for whoever leaves a place with it."""

    def gather(self, request: Request, place: Place, loop: asyncio.AbstractEventLoop) -> Gathering | None:
        """Take the get along, in a task of the layer's own; None where this request is not one to gather."""
        ...


class Batch:
    """Gets that one identity asks for within a turn of the event loop become one get of all their ids, at most `most` of them.

    Each caller is answered by id, in the order asked. Where the common call is refused (not where the backend is away), each is called alone, so that one bad id
    fails alone. A caller that leaves drops out.
    """

    def __init__(self, inner: Backend, *, most: int = 200) -> None:
        self._inner = inner.handle
        self._most = most
        self._open: dict[Hashable, Gathering] = {}
        self._sending: set[Gathering] = set()
        self.gets = 0
        self.batches = 0

    async def handle(self, request: Request) -> Response:
        """The inner answer, or this caller's part of a common one."""
        if request.verb != "get" or not 0 < len(request.ids) < self._most:
            return await self._inner(request)
        self.gets += 1
        key, gathering = self._find(request)
        if gathering is None:
            gathering = self._open[key] = Gathering(key)
            gathering.size = len(request.ids)
            if await self._stays_alone(gathering):
                self.batches += 1
                return await self._inner(request)
        return await self._common(request, gathering)

    def gather(self, request: Request, place: Place, loop: asyncio.AbstractEventLoop) -> Gathering | None:
        """Take a get along, in a task of its own; None where the request is not one to gather."""
        if request.verb != "get" or not 0 < len(request.ids) < self._most:
            return None
        self.gets += 1
        key, gathering = self._find(request)
        if gathering is None:
            gathering = self._open[key] = Gathering(key)
            self._start(gathering, loop)
        gathering.size += len(request.ids)
        gathering.asked.append((request, place))
        return gathering

    async def aclose(self) -> None:
        """Cancel what is in flight."""
        gatherings = tuple(self._sending)
        self._sending.clear()
        tasks = [gathering.task for gathering in gatherings if gathering.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for gathering in gatherings:
            self._close(gathering)
            for _, place in gathering.asked:
                if not place.done():
                    place.cancel()  # its task had not begun

    # -- before it is sent ----------------------------------------------------------------------------------------

    def _find(self, request: Request) -> tuple[Hashable, Gathering | None]:
        """What the request may join, and where it stands."""
        deleted = "without" if request.query is None else request.query.deleted
        who = request.identity
        # Its parts: to hash the identity itself, three times over, would cost more than all of this.
        key = (who.tenant_id, who.user_id, who.role, who.email, request.resource, deleted, request.epoch)
        gathering = self._open.get(key)
        if gathering is not None and gathering.size + len(request.ids) > self._most:
            self._close(gathering)
            gathering = None
        return key, gathering

    def _close(self, gathering: Gathering) -> None:
        """Nobody more joins."""
        key = gathering.key
        if self._open.get(key) is gathering:
            del self._open[key]

    def _start(self, gathering: Gathering, loop: asyncio.AbstractEventLoop) -> None:
        gathering.task = loop.create_task(self._send(gathering), name="interlock-batch")
        self._sending.add(gathering)

    async def _stays_alone(self, gathering: Gathering) -> bool:
        """Who opens a gathering waits for a turn of the loop. Where nobody has come he needs no task but his own."""
        try:
            await asyncio.sleep(0)
        finally:
            if gathering.asked:
                self._start(gathering, asyncio.get_running_loop())
            else:
                self._close(gathering)
        return not gathering.asked

    async def _common(self, request: Request, gathering: Gathering) -> Response:
        """A caller's part of the common answer."""
        loop = asyncio.get_running_loop()
        place: asyncio.Future[Response] = loop.create_future()
        gathering.size += len(request.ids)
        gathering.asked.append((request, place))
        timer = None if request.deadline is None else loop.call_at(request.deadline, _late, place)
        try:
            return await place
        except BaseException:
            gathering.left()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    # -- sending --------------------------------------------------------------------------------------------------

    async def _send(self, gathering: Gathering) -> None:
        self._close(gathering)
        gathering.sent = True
        self.batches += 1
        try:
            asked = gathering.asked
            if len(asked) == 1:
                # Nearly always, where little is going on.
                if not asked[0][1].done():
                    await self._alone(*asked[0])
                return
            asked = [one for one in asked if not one[1].done()]
            if len(asked) > 1:
                await self._together(asked)
            elif asked:
                await self._alone(*asked[0])
        finally:
            self._sending.discard(gathering)
            gathering.asked.clear()

    async def _together(self, asked: list[tuple[Request, Place]]) -> None:
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
        except BaseException as error:  # noqa: BLE001 - it is handed to those who wait
            for _, place in asked:
                _fail(place, error)
            return
        rows: dict[str, Record] = {row.id: row for row in answer.rows}
        for request, place in asked:
            if not place.done():
                found = tuple(rows[one] for one in dict.fromkeys(request.ids) if one in rows)
                place.set_result(msgspec.structs.replace(answer, rows=found))

    async def _alone(self, request: Request, place: Place) -> None:
        try:
            answer = await self._inner(request)
        except BaseException as error:  # noqa: BLE001 - it is handed to who waits
            _fail(place, error)
        else:
            if not place.done():
                place.set_result(answer)


class Gathering:
    """Gets that will be sent as one."""

    __slots__ = ("asked", "key", "sent", "size", "task")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.asked: list[tuple[Request, Place]] = []
        self.size = 0
        self.sent = False
        self.task: asyncio.Task[None] | None = None

    def left(self) -> None:
        """Somebody waits no longer. The common call goes on while it is for anybody."""
        if self.sent and self.task is not None and all(place.done() for _, place in self.asked):
            self.task.cancel()


def _fail(place: Place, error: BaseException) -> None:
    if place.done():
        return
    if isinstance(error, asyncio.CancelledError):
        place.cancel()
    else:
        place.set_exception(error)


def _late(place: asyncio.Future[Response]) -> None:
    if not place.done():
        place.set_exception(DeadlineExceeded())
