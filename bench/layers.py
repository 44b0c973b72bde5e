"""What the layers cost: all of them around a backend that is well, each one's share; a hit of the cache; equal reads at one moment."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiocache  # type: ignore[import-untyped]  # it has no types
import cashews
import msgspec

from bench.data import ADMIN, customers
from bench.measure import Result, emit, interleaved, median, over, paired, rounded, seconds_per_call
from interlock.app import App
from interlock.contract import Backend, Change, Identity, Query, Request, Response
from interlock.entities.customer import Customer
from interlock.layers import SingleFlight
from interlock.layers.pipeline import LayerSettings, Pipeline
from interlock.observability import Observability
from interlock.settings import Settings

READS: Final = 4_000
"""Reads in a run, each of something else: the cache misses them all."""

RUNS: Final = 15
HITS: Final = 20_000
TOGETHER: Final = 100
ROUNDS: Final = 200

ALL: Final = LayerSettings(cache=True, dedup=True, batch=True)
NONE: Final = LayerSettings(deadline=0, concurrency=0, retries=0, breaker_failures=0)
STEPS: Final[Mapping[str, Mapping[str, Any]]] = {
    "breaker": {"breaker_failures": ALL.breaker_failures},
    "retry": {"retries": ALL.retries},
    "bulkhead": {"concurrency": ALL.concurrency},
    "deadline": {"deadline": ALL.deadline},
    "batch": {"batch": True},
    "single_flight": {"dedup": True},
    "cache": {"cache": True},
}
"""The settings' own layers with the guide's switches on, innermost first: each run has one more of them than the one before."""


class Constant:
    """A backend that waits for one turn of the event loop, as each does that is not in this process, and answers the same row."""

    def __init__(self) -> None:
        row = msgspec.structs.replace(customers(1)[0], id="one", tenant_id=ADMIN.tenant_id, version=1)
        self._answer = Response((row,), backend="bench", epoch=1)
        self._never = asyncio.Event()

    async def handle(self, request: Request) -> Response:
        await asyncio.sleep(0)
        return self._answer

    async def changes(self, resource: str, identity: Identity, after: str | None = None) -> AsyncIterator[Change]:
        yield Change(kind="resync", resource=resource)
        await self._never.wait()


def stacks() -> Mapping[str, Callable[[Constant], Pipeline]]:
    """The bare backend, then one layer more each time. The two last ones have what a route has only where it is asked for, or can be."""

    def built(
        settings: LayerSettings, *, metered: bool = False, watched: bool = False
    ) -> Callable[[Constant], Pipeline]:
        def build(backend: Constant) -> Pipeline:
            meter = Observability().meter_for("customers", "sql") if metered else None
            return Pipeline(
                backend,
                service="customers",
                name="sql",
                settings=settings,
                meter=meter,
                watched=backend if watched else None,
            )

        return build

    found = {"backend": built(NONE)}
    settings = NONE
    for name, more in STEPS.items():
        settings = msgspec.structs.replace(settings, **more)
        found[name] = built(settings)
    assert settings == ALL
    found["meter"] = built(ALL, metered=True)
    found["watcher"] = built(ALL, metered=True, watched=True)
    found["hedge"] = built(msgspec.structs.replace(ALL, hedge=0.05), metered=True)
    return found


async def idle(verb: str, requests: list[Request]) -> Result:
    """What the layers add to a read that none of them has to do anything for."""

    def timed(build: Callable[[Constant], Pipeline]) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            pipeline = build(Constant())
            await pipeline.handle(msgspec.structs.replace(requests[0], resource="tags"))
            at_hand = pipeline.at_hand if verb == "get" else None
            started = time.perf_counter()
            for request in requests:
                # As the services do.
                if at_hand is None or at_hand(request) is None:
                    await pipeline.handle(request)
            taken = time.perf_counter() - started
            await pipeline.aclose()
            return taken / len(requests) * 1e6

        return once

    taken = await interleaved(RUNS, {name: timed(build) for name, build in stacks().items()})
    names = ["backend", *STEPS, "meter"]
    parts = {"backend called directly": statistics.median(taken["backend"])}
    for before, name in pairwise(names):
        parts[name] = statistics.median(over(taken[name], taken[before]))
    parts["watcher, where a backend tells of changes, besides"] = statistics.median(
        over(taken["watcher"], taken["meter"])
    )
    parts["hedge, where it is set, besides"] = statistics.median(over(taken["hedge"], taken["meter"]))
    return median(
        over(taken["meter"], taken["backend"]),
        "µs",
        bar="<=12",
        peer=f"a {verb} of the backend alone, which waits for one turn of the event loop",
        parts={name: rounded(value) for name, value in parts.items()},
    )


async def hits() -> Mapping[str, Result]:
    """A read that the cache has, from the service down, beside a decorated function."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(
            api_mode="mock", home=Path(home), environment="production", cache=True, dedup=True, batch=True
        )
        app = await App.open(settings)
        crm = app.services(ADMIN)
        made = await crm.customers.bulk_create(customers(1))
        row = await crm.customers.get(made[0].id)
        wanted = row.id

        by_aiocache: Callable[[str, str], Awaitable[Customer]]
        by_aiocache = aiocache.cached(ttl=300)(_answers(row))
        kept = cashews.Cache()
        kept.setup("mem://")
        by_cashews = kept(ttl=300)(_answers(row))

        def timed(call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[float]]:
            async def once() -> float:
                await call()
                return await seconds_per_call(call, HITS) * 1e6

            return once

        subjects = {
            "interlock": lambda: crm.customers.get(wanted),
            "aiocache": lambda: by_aiocache(ADMIN.tenant_id, wanted),
            "cashews": lambda: by_cashews(ADMIN.tenant_id, wanted),
        }
        assert [await call() for call in subjects.values()] == [row] * 3  # type: ignore[no-untyped-call]  # aiocache has no types
        taken = await interleaved(RUNS, {name: timed(call) for name, call in subjects.items()})
        await app.aclose()
    parts = {f"{name}, µs a call": rounded(statistics.median(each)) for name, each in taken.items()}
    asked = "`await crm.customers.get(id)` with all layers, from the cache, beside a function of tenant and id under"
    return {
        "cache_hit_vs_aiocache": paired(
            taken["interlock"], taken["aiocache"], bar="<=0.1", peer=f"{asked} aiocache's decorator", parts=parts
        ),
        "cache_hit_vs_cashews": paired(
            taken["interlock"], taken["cashews"], bar="<=0.05", peer=f"{asked} cashews' decorator", parts=parts
        ),
    }


def _answers(row: Customer) -> Callable[[str, str], Awaitable[Customer]]:
    async def load(tenant_id: str, record_id: str) -> Customer:
        return row

    return load


async def together() -> Result:
    """A hundred equal reads at once through single-flight, beside as many tasks that await one future."""
    backend: Backend = Constant()
    layer = SingleFlight(backend)
    request = Request("get", "customers", ADMIN, ids=("one",), epoch=1)
    loop = asyncio.get_running_loop()
    before = layer.joined
    await asyncio.gather(*(layer.handle(request) for _ in range(TOGETHER)))
    assert layer.joined - before == TOGETHER - 1

    async def through_layer() -> None:
        await asyncio.gather(*[loop.create_task(layer.handle(request)) for _ in range(TOGETHER)])

    async def waits(future: asyncio.Future[int]) -> int:
        return await future

    async def on_future() -> None:
        future: asyncio.Future[int] = loop.create_future()
        tasks = [loop.create_task(waits(future)) for _ in range(TOGETHER)]
        loop.call_soon(future.set_result, 1)
        await asyncio.gather(*tasks)

    taken = await interleaved(
        RUNS,
        {
            "single_flight": lambda: seconds_per_call(through_layer, ROUNDS),
            "future": lambda: seconds_per_call(on_future, ROUNDS),
        },
    )
    return paired(
        taken["single_flight"],
        taken["future"],
        bar="<=1.3",
        peer=f"{TOGETHER} tasks that await one future",
        parts={f"{name}, µs": rounded(statistics.median(each) * 1e6) for name, each in taken.items()},
    )


async def run() -> Mapping[str, Result]:
    finds = [Request("find", "customers", ADMIN, Query(offset=place), epoch=1) for place in range(READS)]
    gets = [Request("get", "customers", ADMIN, ids=(f"one {place}",), epoch=1) for place in range(READS)]
    return {
        "layers_find": await idle("find", finds),
        "layers_get": await idle("get", gets),
        **await hits(),
        "single_flight": await together(),
    }


if __name__ == "__main__":
    emit(run)
