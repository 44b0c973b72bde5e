"""A process of a day of faults: a pipeline for each service, and its way to the shared cache; it may stand still, and may be killed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from interlock.contract import Request, Response
from interlock.entities import ENTITIES
from interlock.layers import CacheSettings
from interlock.layers.caching import Cache
from interlock.layers.invalidation import Invalidation
from interlock.layers.pipeline import Guard, LayerSettings, Pipeline
from interlock.layers.shared import Membership, SharedCache
from interlock.testing.simulated_store import SimulatedStore
from soak.day.backend import SETTLE

__all__ = ["SERVICES", "Process"]

T = TypeVar("T")

SERVICES = ("tags", "labels", "marks")
ENTRIES = 30
SETTINGS = LayerSettings(
    cache=True,
    ttl=60.0,
    stale=30.0,
    dedup=True,
    batch=True,
    deadline=5.0,
    concurrency=6,
    queue=30,
    hedge=0.1,
)
_TAG = next(entity for entity in ENTITIES if entity.resource == "tags")


class PausingStore(SimulatedStore):
    """A process's way to the server, on which nothing moves while the process stands still."""

    process: Process

    async def _step(self, step: Callable[[], T]) -> T:
        await self.process.going.wait()
        try:
            return await super()._step(step)
        finally:
            await self.process.going.wait()


class Process:
    """A process: one pipeline a service."""

    def __init__(self, world: Any, name: str) -> None:
        self.world, self.name, self.dead = world, name, False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.going = asyncio.Event()
        self.going.set()
        self.told = Invalidation(SETTLE)
        self.store = PausingStore(world.server, world.draw)
        self.store.process = self
        self.membership: Membership | None = None
        if world.shared:
            self.membership = Membership(
                self.store, world.server.settings, told=self.told, member=name, gone=world.dead.__contains__
            )
        self.guard = Guard(SETTINGS)
        self.pipelines = {service: self._pipeline(service) for service in SERVICES}

    def _pipeline(self, service: str) -> Pipeline:
        kept = CacheSettings(ttl=SETTINGS.ttl, stale_if_error=SETTINGS.stale, entries=ENTRIES)

        def around(inner: Any) -> Any:
            if self.membership is None:
                return Cache(inner, kept, varies="tenant", told=self.told, draw=self.world.draw)
            entities: Any = dict.fromkeys(SERVICES, _TAG)
            return SharedCache(
                inner,
                kept,
                self.membership,
                service=service,
                where=service,
                entities=entities,
                varies="tenant",
                draw=self.world.draw,
            )

        return Pipeline(
            self,
            service=service,
            name="sql",
            settings=SETTINGS,
            guard=self.guard,
            told=self.told,
            watched=None if self.world.shared else self.world.backend,
            shared=around,
        )

    async def handle(self, request: Request) -> Response:
        """The backend, as far as this process moves."""
        await self.going.wait()
        answer: Response = await self.world.backend.handle(request)
        await self.going.wait()
        return answer

    async def start(self) -> None:
        if self.membership is not None:
            await self.membership.start()

    async def close(self) -> None:
        for pipeline in self.pipelines.values():
            for layer in pipeline.layers.values():
                for count in ("hits", "bypassed", "joined", "retries", "sent", "won", "heard", "echoes"):
                    self.world.seen[count] += getattr(layer, count, 0)
        if not self.dead:
            for pipeline in self.pipelines.values():
                await pipeline.aclose()
            if self.membership is not None:
                await self.membership.aclose()
        await self.store.aclose()

    async def crash(self) -> None:
        """Killed: nothing of it runs on, and nothing is tidied up."""
        self.dead = True
        while tasks := [task for task in self.tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
