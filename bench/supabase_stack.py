"""On the local stack: lists of 50 customers beside wrk, and 100,000 customers in bulk beside plain HTTP, both at the same PostgREST."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from bench.data import customers
from bench.measure import Result, emit, interleaved, paired, rounded
from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Identity, Query, Request, Response
from interlock.devstack import Stack, running
from interlock.entities import ENTITIES
from interlock.entities.customer import Customer
from interlock.http import Call, open_engine
from interlock.identifiers import new_id
from interlock.tokens import SupabaseIssuer

CONCURRENT = 50
SECONDS = 4
LIST_RUNS = 5
BULK = 100_000
PART = 1_000
BULK_RUNS = 3
IN_FLIGHT = 4
"""Parts of a bulk write that are on their way at once, ours and the peer's."""


class Tokens:
    """Tokens that the stack trusts: the same one for each caller."""

    def __init__(self, secret: str) -> None:
        self._issuer = SupabaseIssuer(secret)
        self._held: dict[Identity, str] = {}

    async def token(self, identity: Identity, *, refresh: bool = False) -> str:
        if identity not in self._held:
            self._held[identity] = self._issuer.mint(identity, 3600)
        return self._held[identity]


def somebody() -> Identity:
    """An admin of a new tenant."""
    return Identity(new_id(), new_id(), "admin")


def identified(rows: Sequence[Customer]) -> tuple[Customer, ...]:
    """The rows with ids, as services hand them on."""
    return tuple(msgspec.structs.replace(row, id=new_id()) for row in rows)


async def as_asked(stack: Stack, request: Request) -> tuple[str, dict[str, str]]:
    """The address and headers with which our backend asks for the list: what wrk is to ask for too."""
    engine = open_engine("pyreqwest")
    seen: list[Call] = []

    class Listening:
        async def send(self, call: Call) -> Any:
            seen.append(call)
            return await engine.send(call)

        def stream(self, call: Call) -> Any:
            return engine.stream(call)

        async def aclose(self) -> None:
            await engine.aclose()

    backend = backend_on(stack, Listening())
    await backend.handle(request)
    await backend.aclose()
    (call,) = seen
    return call.url, call.headers


def backend_on(stack: Stack, engine: Any = None) -> SupabaseBackend:
    """Our backend on the stack."""
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    return SupabaseBackend(
        settings, ENTITIES, tokens=Tokens(stack.jwt_secret), **({"engine": engine} if engine else {})
    )


async def lists(stack: Stack) -> Mapping[str, Result]:
    who = somebody()
    backend = backend_on(stack)
    await backend.handle(Request("create", "customers", who, rows=identified(customers(2_000)), operation_id=new_id()))
    request = Request("find", "customers", who, Query(limit=50))
    url, headers = await as_asked(stack, request)

    async def ours() -> float:
        ends = time.perf_counter() + SECONDS
        done = 0

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < ends:
                answer = await backend.handle(request)
                assert len(answer.rows) == 50
                done += 1

        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(CONCURRENT)))
        return done / (time.perf_counter() - started)

    async def by_wrk() -> float:
        named = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
        command = ["wrk", "-t1", f"-c{CONCURRENT}", f"-d{SECONDS}s", *named, url]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        told = (await process.communicate())[0].decode()
        assert "Non-2xx" not in told, told
        found = re.search(r"Requests/sec:\s+([\d.]+)", told)
        assert found is not None, told
        return float(found[1])

    taken = await interleaved(LIST_RUNS, {"ours": ours, "wrk": by_wrk})
    await backend.aclose()
    return {
        "supabase_list": paired(
            taken["ours"],
            taken["wrk"],
            bar=">=0.85",
            peer="wrk, the same call at the same local stack, 50 connections, rows not looked at",
            parts={f"{name}, calls/s": rounded(sorted(rates)[LIST_RUNS // 2]) for name, rates in taken.items()},
        )
    }


async def bulk(stack: Stack) -> Mapping[str, Result]:
    rows = customers(BULK)
    backend = backend_on(stack)
    tokens = Tokens(stack.jwt_secret)

    async def ours() -> float:
        request = Request("create", "customers", somebody(), rows=identified(rows), operation_id=new_id())
        started = time.perf_counter()
        answer: Response = await backend.handle(request)
        taken = time.perf_counter() - started
        assert all(outcome.ok for outcome in answer.outcomes)
        return BULK / taken

    async def by_http(prefer: str) -> float:
        who = somebody()
        ready = [columns(row) for row in identified(rows)]
        headers = {
            "apikey": stack.anon_key,
            "Authorization": f"Bearer {await tokens.token(who)}",
            "Content-Type": "application/json",
            "Prefer": prefer,
        }
        parts = iter([ready[start : start + PART] for start in range(0, BULK, PART)])
        async with aiohttp.ClientSession() as session:

            async def sender() -> None:
                for part in parts:
                    url = f"{stack.url}/rest/v1/customers"
                    async with session.post(url, data=msgspec.json.encode(part), headers=headers) as reply:
                        body = await reply.read()
                        assert reply.status == 201, body

            started = time.perf_counter()
            await asyncio.gather(*(sender() for _ in range(IN_FLIGHT)))
            return BULK / (time.perf_counter() - started)

    subjects = {
        "ours": ours,
        "rows returned": lambda: by_http("return=representation"),
        "nothing returned": lambda: by_http("return=minimal"),
    }
    taken = await interleaved(BULK_RUNS, subjects)
    await backend.aclose()
    return {
        "supabase_bulk": paired(
            taken["ours"],
            taken["rows returned"],
            bar=">=0.8",
            peer=f"aiohttp: the same {BULK} rows by {PART}, {IN_FLIGHT} posts at once, rows returned, at the same local stack",
            parts={f"{name}, rows/s": rounded(sorted(rates)[BULK_RUNS // 2]) for name, rates in taken.items()},
            note="ours also answers an outcome for each row, typed, and can be repeated by its operation id",
        )
    }


def columns(row: Customer) -> dict[str, Any]:
    """A row as the table's columns."""
    values = {name: getattr(row, name) for name in row.__struct_fields__}
    for name in ("tenant_id", "created_at", "updated_at", "created_by", "updated_by", "version", "deleted_at"):
        del values[name]
    place = row.location
    values["location"] = None if place is None else f"SRID=4326;POINT({place.lon!r} {place.lat!r})"
    return values


async def run() -> Mapping[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        async with running(Path(folder)) as stack:
            return {**await lists(stack), **await bulk(stack)}


if __name__ == "__main__":
    emit(run)
