"""The backend of a day of faults: it keeps the truth, and is slow, refuses, hangs and loses what it answered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from interlock.contract import Change, Identity, Outcome, Request, Response
from interlock.entities.customer import Tag
from interlock.errors import OutcomeUnknown, RateLimited, Unavailable

__all__ = ["RECORDS", "SETTLE", "Backend", "Key"]

Key = tuple[str, str, str]
"""Tenant, resource and record."""

RECORDS = tuple(f"r{n}" for n in range(8))
SETTLE = 30.0
"""Seconds within which a write of unknown outcome lands, if ever."""


class Backend:
    """The truth, and how it fails. A write of unknown outcome lands within two thirds of the time within which it must."""

    def __init__(self, draw: random.Random, seen: Counter[str]) -> None:
        self.draw, self.seen = draw, seen
        self.on: Counter[str] = Counter()
        self.ended = 0.0
        self.landed: dict[Key, list[float]] = {}
        self.acknowledged: dict[Key, int] = {}
        self.done: OrderedDict[str, int] = OrderedDict()
        self.late: set[asyncio.Task[None]] = set()
        self.streams: dict[asyncio.Queue[Change | None], tuple[str, str]] = {}
        self.calls = 0

    def version(self, key: Key) -> int:
        return len(self.landed.get(key, ()))

    def least(self, key: Key, now: float) -> int:
        """The oldest version that may still be given."""
        landed, least = self.landed.get(key, []), self.acknowledged.get(key, 0)
        while least < len(landed) and landed[least] + SETTLE * 1.5 < now:
            least += 1
        return least

    def commit(self, key: Key, operation: str) -> int:
        if operation in self.done:
            return self.done[operation]
        self.landed.setdefault(key, []).append(asyncio.get_running_loop().time())
        version = self.done[operation] = self.version(key)
        if len(self.done) > 1000:
            self.done.popitem(last=False)
        change = Change(kind="updated", resource=key[1], record_id=key[2], version=version)
        for stream, of in self.streams.items():
            if of == key[:2]:
                stream.put_nowait(change)
        return version

    def sound(self, now: float) -> bool:
        return not self.on.total() and now > self.ended + 40

    async def handle(self, request: Request) -> Response:
        seen, draw, on = self.seen, self.draw, self.on
        self.calls += 1
        write = request.verb == "update"
        key = (request.identity.tenant_id, request.resource, request.ids[0] if request.ids else "")
        try:
            if on["partition"] and draw.random() < 0.8:
                seen["hung calls"] += 1
                await asyncio.get_running_loop().create_future()
            if on["storm"] and draw.random() < 0.7:
                seen["429"] += 1
                raise RateLimited(retry_after=draw.uniform(0.2, 2))
            if on["flapping"] and int(asyncio.get_running_loop().time() / 4) % 2:
                seen["refused calls"] += 1
                raise Unavailable("flapping")
            slow = on["spike"] and draw.random() < 0.5
            seen["slow calls"] += bool(slow)
            await asyncio.sleep(draw.uniform(0.5, 4) if slow else draw.choice((0.003, 0.005, 0.02)))
            if draw.random() < (0.1 if on.total() else 0) and write:
                raise OutcomeUnknown(request.operation_id)
        except (asyncio.CancelledError, OutcomeUnknown):
            if write and draw.random() < 0.5:
                seen["landed late"] += 1
                self._later(self._lands(key, request.operation_id, draw.uniform(0, SETTLE * 0.6)))
            raise
        if write:
            row = self._row(key, self.commit(key, request.operation_id))
            answer = Response(outcomes=(Outcome(row.id, row),))
        else:
            wanted = request.ids or RECORDS
            answer = Response(tuple(self._row((*key[:2], one), self.version((*key[:2], one))) for one in wanted))
        if on["slow body"] and draw.random() < 0.5:
            seen["slow bodies"] += 1
            await asyncio.sleep(draw.uniform(1, 6))
        return answer

    def _row(self, key: Key, version: int) -> Tag:
        return Tag(id=key[2], tenant_id=key[0], name=key[1], version=version)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self.late.add(task)
        task.add_done_callback(self.late.discard)

    async def _lands(self, key: Key, operation: str, after: float) -> None:
        await asyncio.sleep(after)
        self.commit(key, operation)

    async def changes(
        self, resource: str, identity: Identity, position: str | None = None
    ) -> AsyncGenerator[Change, None]:
        """What is written, until the stream breaks."""
        stream: asyncio.Queue[Change | None] = asyncio.Queue()
        self.streams[stream] = (identity.tenant_id, resource)
        try:
            yield Change(kind="resync", resource=resource)
            while (change := await stream.get()) is not None:
                yield change
            self.seen["streams broken"] += 1
            raise Unavailable("the stream broke")
        finally:
            del self.streams[stream]
