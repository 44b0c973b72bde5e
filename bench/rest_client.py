"""Fifty lists of 50 customers at a time: the rest backend, and httpx with pydantic, against the same server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from pydantic import TypeAdapter

from bench.data import ADMIN
from bench.measure import Result, emit, interleaved, paired, rounded
from bench.models import CustomerModel
from bench.serving import PATH, running, served_rows
from interlock.backends.rest import RestBackend, RestSettings
from interlock.contract import Identity, Query, Request
from interlock.entities import ENTITIES

CONCURRENT = 50
ROUNDS = 8
RUNS = 7


class Token:
    """The same token for every call."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        return self._token


async def rate(call: Callable[[], Awaitable[Any]]) -> float:
    """Calls a second, fifty at a time."""
    started = time.perf_counter()
    for _ in range(ROUNDS):
        await asyncio.gather(*(call() for _ in range(CONCURRENT)))
    return ROUNDS * CONCURRENT / (time.perf_counter() - started)


async def run() -> Mapping[str, Result]:
    with running("constant") as server:
        backend = RestBackend(
            RestSettings(base_url=server.url.removesuffix("/customers")), ENTITIES, tokens=Token(server.token)
        )
        request = Request("find", "customers", ADMIN, Query(limit=50))
        model = TypeAdapter(list[CustomerModel])
        headers = {"Authorization": f"Bearer {server.token}"}

        async with httpx.AsyncClient(base_url=server.url.removesuffix(PATH), headers=headers, timeout=60) as client:

            async def by_httpx() -> list[CustomerModel]:
                answer = await client.get(PATH, params={"_limit": 50})
                answer.raise_for_status()
                return model.validate_json(answer.content)

            assert len(await by_httpx()) == 50
            assert list((await backend.handle(request)).rows) == served_rows()
            taken = await interleaved(
                RUNS, {"rest": lambda: rate(lambda: backend.handle(request)), "httpx": lambda: rate(by_httpx)}
            )
        await backend.aclose()
    return {
        "rest_client": paired(
            taken["rest"],
            taken["httpx"],
            bar=">=8",
            peer="httpx + pydantic, 50 concurrent lists of 50 rows, same server (constant bytes on granian)",
            parts={f"{name}, calls/s": rounded(sorted(rates)[len(rates) // 2]) for name, rates in taken.items()},
        )
    }


if __name__ == "__main__":
    emit(run)
