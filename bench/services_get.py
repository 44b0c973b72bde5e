"""What `await crm.customers.get(id)` costs over calling the backend directly, and of what that is made."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bench.data import ADMIN, customers, services
from bench.measure import Result, emit, interleaved, median, over, rounded, seconds_per_call
from interlock.backends.memory import MemoryBackend
from interlock.contract import Request
from interlock.entities import ENTITIES
from interlock.services.policy import check

CALLS = 20_000
RUNS = 15


async def run() -> Mapping[str, Result]:
    backend = MemoryBackend(ENTITIES)
    crm = services(backend)
    made = [outcome.id for outcome in await crm.customers.bulk_create(customers(1000))]
    wanted = made[500]
    request = Request("get", "customers", ADMIN, ids=(wanted,), epoch=crm.route("customers").epoch)
    route = crm.route("customers")

    def timed(call: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            return await seconds_per_call(call, CALLS) * 1e6

        return once

    taken = await interleaved(
        RUNS,
        {
            "direct": timed(lambda: backend.handle(request)),
            "routed": timed(lambda: route.handle(request)),
            "service": timed(lambda: crm.customers.get(wanted)),
        },
    )
    context = crm.customers.context

    def micro(call: Callable[[], Any]) -> float:
        return rounded(min(timeit.repeat(call, number=CALLS, repeat=7)) / CALLS * 1e6)

    empty = micro(lambda: None)
    parts = {
        "backend called directly": rounded(statistics.median(taken["direct"])),
        "counting in the route": rounded(statistics.median(over(taken["routed"], taken["direct"]))),
        "crm.customers": micro(lambda: crm.customers) - empty,
        "identity": micro(lambda: context.identity) - empty,
        "policy": micro(lambda: check(ADMIN, "customers", "get")) - empty,
        "route lookup": micro(lambda: context.route("customers")) - empty,
        "building the request": micro(lambda: Request("get", "customers", ADMIN, None, (wanted,), epoch=1)) - empty,
    }
    return {
        "services_get": median(
            over(taken["service"], taken["direct"]),
            "µs",
            bar="<=5",
            peer="backend.handle called directly, on memory",
            parts={name: rounded(value) for name, value in parts.items()},
        )
    }


if __name__ == "__main__":
    emit(run)
