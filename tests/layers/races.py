"""A small world in which everything races: readers, writers, cancellations, foreign writes and switches, over a store that keeps the truth.

`run(seed, stack)` plays one schedule and raises `Wrong` at the first answer that must not be.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import msgspec

from interlock.contract import Backend, Change, Identity, Outcome, Query, Request, Response
from interlock.entities.customer import Tag
from interlock.errors import InterlockError, OutcomeUnknown, Unavailable
from interlock.layers.invalidation import Invalidation
from interlock.testing.simulation import simulate

TENANTS = tuple(Identity(f"user-{name}", name, "admin") for name in ("a", "b"))
RECORDS = ("r1", "r2")
SETTLE = 5.0
"""Seconds within which a write of unknown outcome lands, if ever."""

Key = tuple[str, str]
Stack = Callable[[Backend, Invalidation], Backend]


class Wrong(AssertionError):
    """An answer that must not be."""


class Truth:
    """The records of both tenants: a version each. `acknowledged` is what some caller has been told; `landed` is when each version was committed."""

    def __init__(self) -> None:
        self.version: dict[Key, int] = {(who.tenant_id, record): 0 for who in TENANTS for record in RECORDS}
        self.acknowledged: dict[Key, int] = dict.fromkeys(self.version, 0)
        self.done: dict[str, int] = {}
        self.landed: dict[Key, list[float]] = {key: [0.0] for key in self.version}

    def commit(self, key: Key, operation_id: str = "") -> int:
        """One version more; of an operation that has been done, the version that it made."""
        if operation_id in self.done:
            return self.done[operation_id]
        self.version[key] += 1
        if operation_id:
            self.done[operation_id] = self.version[key]
        self.landed[key].append(asyncio.get_running_loop().time())
        return self.version[key]


class Store:
    """A backend over the truth: every step takes its time, and some calls fail, before or after the commit."""

    def __init__(self, truth: Truth, draw: random.Random, epoch: int) -> None:
        self.truth = truth
        self.draw = draw
        self.epoch = epoch
        self.late: set[asyncio.Task[None]] = set()

    async def _while(self) -> None:
        if self.draw.random() < 0.7:
            await asyncio.sleep(self.draw.choice((0, 0.001, 0.01)))

    def row(self, tenant: str, record: str) -> Tag:
        """A record as it is."""
        return Tag(id=record, tenant_id=tenant, name="x", version=self.truth.version[tenant, record])

    async def handle(self, request: Request) -> Response:
        tenant = request.identity.tenant_id
        await self._while()
        if self.draw.random() < 0.05:
            raise Unavailable("the store is away")
        if request.verb == "update":
            return await self._update(tenant, request)
        wanted = request.ids if request.verb == "get" else RECORDS
        rows = tuple(self.row(tenant, record) for record in wanted)
        await self._while()
        return Response(rows, backend="store", epoch=self.epoch)

    async def _update(self, tenant: str, request: Request) -> Response:
        key = (tenant, request.ids[0])
        fate = self.draw.random()
        if fate < 0.1:
            self._later(self._lands(key, request.operation_id, self.draw.uniform(0, SETTLE * 0.9)))
            raise OutcomeUnknown(request.operation_id)
        if fate < 0.2:
            # Sent: whatever becomes of the caller, it lands.
            await asyncio.shield(self._later(self._lands(key, request.operation_id, 0.01)))
        version = self.truth.commit(key, request.operation_id)
        row = msgspec.structs.replace(self.row(*key), version=version)
        await self._while()
        return Response(outcomes=(Outcome(request.ids[0], row),), backend="store", epoch=self.epoch)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.late.add(task)
        task.add_done_callback(self.late.discard)
        return task

    async def _lands(self, key: Key, operation_id: str, after: float) -> None:
        await asyncio.sleep(after)
        self.truth.commit(key, operation_id)


class World:
    """One schedule."""

    def __init__(
        self, draw: random.Random, stack: Stack, told: Callable[[], Invalidation], trace: Callable[[str], None]
    ) -> None:
        self.draw = draw
        self.stack = stack
        self.trace = trace
        self.truth = Truth()
        self.store = Store(self.truth, draw, 1)
        self.stores = [self.store]
        self.told = told()
        self.layers = [stack(self.store, self.told)]
        self.operation = 0

    async def play(self) -> None:
        """Everybody at once; then, when all has settled, everybody looks once more."""
        actors = [asyncio.ensure_future(self._act()) for _ in range(self.draw.randint(3, 6))]
        for actor in actors:
            if self.draw.random() < 0.25:
                asyncio.get_running_loop().call_later(self.draw.choice((0.001, 0.01, 0.02)), actor.cancel)
        for actor in actors:
            with suppress(asyncio.CancelledError):
                await actor
        await asyncio.sleep(SETTLE * 1.5)
        for who in TENANTS:
            for record in RECORDS:
                with suppress(InterlockError):
                    await self._read(who, record)
        for layer in self.layers:
            aclose = getattr(layer, "aclose", None)
            if aclose is not None:
                await aclose()

    async def _act(self) -> None:
        for _ in range(self.draw.randint(1, 5)):
            who, record = self.draw.choice(TENANTS), self.draw.choice(RECORDS)
            with suppress(InterlockError):
                match self.draw.choices(("read", "write", "foreign", "switch", "wait"), (10, 6, 1, 1, 2))[0]:
                    case "read":
                        await self._read(who, record)
                    case "write":
                        await self._write(who, record)
                    case "foreign":
                        self._foreign(who, record)
                    case "switch":
                        self._switch()
                    case "wait":
                        await asyncio.sleep(self.draw.choice((0.001, 0.02, 0.2)))

    def _switch(self) -> None:
        self.store = Store(self.truth, self.draw, self.store.epoch + 1)
        self.stores.append(self.store)
        self.layers.append(self.stack(self.store, self.told))

    def _foreign(self, who: Identity, record: str) -> None:
        """Somebody else writes, and the change is told of at once."""
        key = (who.tenant_id, record)
        version = self.truth.commit(key)
        self.told.changed(who.tenant_id, Change(kind="updated", resource="tags", record_id=record, version=version))
        self.truth.acknowledged[key] = max(self.truth.acknowledged[key], version)

    async def _write(self, who: Identity, record: str) -> None:
        self.operation += 1
        request = Request(
            "update",
            "tags",
            who,
            ids=(record,),
            patch=MappingProxyType({"name": "y"}),
            operation_id=str(self.operation),
            epoch=self.store.epoch,
        )
        answer = await self.layers[-1].handle(request)
        row: Any = answer.outcomes[0].row
        key = (who.tenant_id, record)
        self.truth.acknowledged[key] = max(self.truth.acknowledged[key], row.version)

    async def _read(self, who: Identity, record: str) -> None:
        key = (who.tenant_id, record)
        now = asyncio.get_running_loop().time()
        least = max(
            self.truth.acknowledged[key],
            max(n for n, at in enumerate(self.truth.landed[key]) if n == 0 or at + SETTLE < now),
        )
        epoch = self.store.epoch
        if self.draw.random() < 0.5:
            request = Request("get", "tags", who, ids=(record,), epoch=epoch)
        else:
            request = Request("find", "tags", who, query=Query(), epoch=epoch)
        answer = await self.layers[-1].handle(request)
        self.trace(f"{now} {request.verb} {key} {[row.version for row in answer.rows]} {answer.cached}")
        if answer.epoch != epoch:
            raise Wrong(f"an answer of epoch {answer.epoch} in epoch {epoch}")
        for row in answer.rows:
            if row.tenant_id != who.tenant_id:
                raise Wrong(f"a row of {row.tenant_id} for {who.tenant_id}")
            if row.id == record and row.version < least:
                raise Wrong(f"version {row.version} of {key} after {least} was acknowledged")
        if not any(row.id == record for row in answer.rows):
            raise Wrong(f"the answer lacks {record}")


def run(
    seed: int, stack: Stack, told: Callable[[], Invalidation], trace: Callable[[str], None] = lambda line: None
) -> None:
    """Play one schedule. `trace` is told of every answer."""
    simulate(lambda draw: World(draw, stack, told, trace).play(), seed)
