"""Fifty lists of 50 customers at a time: the supabase backend, and supabase-py with pydantic, against the same server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from bench.data import ADMIN
from bench.measure import Result, emit, interleaved, paired, rounded
from bench.models import CustomerModel
from bench.rest_client import Token
from bench.serving import PATH, running, served_rows
from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Query, Request
from interlock.entities import ENTITIES
from supabase import AsyncClientOptions, acreate_client

CONCURRENT = 50
ROUNDS = 6
RUNS = 7
KEY = "sb_publishable_bench"


class Taken:
    """Calls a second, and seconds of this process's CPU for each call, run by run."""

    def __init__(self) -> None:
        self.cpu: dict[str, list[float]] = {}

    async def rate(self, name: str, call: Callable[[], Awaitable[Any]]) -> float:
        """Calls a second, fifty at a time; keeps what they cost."""
        started, used = time.perf_counter(), time.process_time()
        for _ in range(ROUNDS):
            await asyncio.gather(*(call() for _ in range(CONCURRENT)))
        calls = ROUNDS * CONCURRENT
        self.cpu.setdefault(name, []).append((time.process_time() - used) / calls)
        return calls / (time.perf_counter() - started)


async def run() -> Mapping[str, Result]:
    with running("constant") as server:
        url = server.url.removesuffix(PATH)
        backend = SupabaseBackend(SupabaseSettings(url=url, anon_key=KEY), ENTITIES, tokens=Token(server.token))
        peer = await acreate_client(url, KEY, AsyncClientOptions(headers={"Authorization": f"Bearer {server.token}"}))
        request = Request("find", "customers", ADMIN, Query(limit=50))
        model = TypeAdapter(list[CustomerModel])

        async def by_supabase_py() -> list[CustomerModel]:
            answer = await peer.table("customers").select("*").limit(50).execute()
            return model.validate_python(answer.data)

        assert len(await by_supabase_py()) == 50
        assert list((await backend.handle(request)).rows) == served_rows()
        taken = Taken()
        rates = await interleaved(
            RUNS,
            {
                "interlock": lambda: taken.rate("interlock", lambda: backend.handle(request)),
                "supabase-py": lambda: taken.rate("supabase-py", by_supabase_py),
            },
        )
        await backend.aclose()
    cpu = {name: costs[1:] for name, costs in taken.cpu.items()}  # the first round does not count
    peer_name = "supabase-py + pydantic, 50 concurrent lists of 50 rows, same server (constant bytes on granian)"
    return {
        "supabase_client": paired(
            rates["interlock"],
            rates["supabase-py"],
            bar=">=8",
            peer=peer_name,
            parts={f"{name}, calls/s": rounded(sorted(values)[RUNS // 2]) for name, values in rates.items()},
        ),
        "supabase_client_cpu": paired(
            cpu["interlock"],
            cpu["supabase-py"],
            bar="<=0.1667",
            peer=f"CPU of the calling process per call: {peer_name}",
            parts={
                f"{name}, ms of CPU per call": rounded(sorted(values)[RUNS // 2] * 1e3) for name, values in cpu.items()
            },
        ),
    }


if __name__ == "__main__":
    emit(run)
