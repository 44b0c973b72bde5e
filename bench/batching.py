"""A hundred gets at once with batching, beside the same gets one by one: the rest backend on the gateway over sql, and supabase on the local stack."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from bench.data import ADMIN, customers
from bench.measure import Result, emit, interleaved, paired, rounded
from bench.rest_client import Token
from bench.serving import running
from bench.supabase_stack import backend_on, identified, somebody
from interlock.backends.rest import RestBackend, RestSettings
from interlock.contract import Backend, Identity, Query, Request
from interlock.devstack import running as stack_running
from interlock.entities import ENTITIES
from interlock.identifiers import new_id
from interlock.layers import Batch

GETS = 100
ROUNDS = 4
RUNS = 7


async def compared(backend: Backend, who: Identity, ids: Sequence[str], where: str) -> Result:
    """The bar is on gets that wait for one another; what the same gets take all at once without batching is told too."""
    assert len(set(ids)) == GETS
    batch = Batch(backend)
    requests = [Request("get", "customers", who, ids=(one,), epoch=1) for one in ids]

    async def at_once(layer: Backend) -> None:
        answers = await asyncio.gather(*(layer.handle(request) for request in requests))
        assert [answer.rows[0].id for answer in answers] == list(ids)

    async def one_by_one() -> None:
        for request in requests:
            assert (await backend.handle(request)).rows[0].id == request.ids[0]

    def timed(call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
        async def once() -> float:
            started = time.perf_counter()
            for _ in range(ROUNDS):
                await call()
            return (time.perf_counter() - started) / ROUNDS

        return once

    taken = await interleaved(
        RUNS,
        {
            "batched": timed(lambda: at_once(batch)),
            "all at once, without batching": timed(lambda: at_once(backend)),
            "one by one": timed(one_by_one),
        },
    )
    await batch.aclose()
    return paired(
        taken["one by one"],
        taken["batched"],
        bar=">=8",
        peer=f"the same {GETS} gets, each awaited before the next, {where}",
        parts={f"{name}, ms": rounded(statistics.median(each) * 1e3) for name, each in taken.items()},
    )


async def on_real() -> Result:
    with running("sql") as server:
        settings = RestSettings(base_url=server.url.removesuffix("/customers"))
        backend = RestBackend(settings, ENTITIES, tokens=Token(server.token))
        rows = (await backend.handle(Request("find", "customers", ADMIN, Query(limit=GETS)))).rows
        result = await compared(backend, ADMIN, [row.id for row in rows], "the same backend on the gateway over SQLite")
        await backend.aclose()
    return result


async def on_supabase() -> Result:
    with tempfile.TemporaryDirectory() as folder:
        async with stack_running(Path(folder)) as stack:
            who = somebody()
            rows = identified(customers(GETS))
            backend = backend_on(stack)
            await backend.handle(Request("create", "customers", who, rows=rows, operation_id=new_id()))
            result = await compared(backend, who, [row.id for row in rows], "the same backend on the same local stack")
            await backend.aclose()
    return result


async def run() -> Mapping[str, Result]:
    return {"batch_real": await on_real(), "batch_supabase": await on_supabase()}


if __name__ == "__main__":
    emit(run)
