"""Several processes on one database: what one writes, the others see, and nothing is done twice.

Two backends stand for two processes: they share nothing but the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import MappingProxyType

import pytest
from tests.patience import PATIENCE

from interlock.backends.sql import SqlBackend
from interlock.contract import Change, Identity, Query, Request
from interlock.entities import CONTRACTS, CUSTOMERS
from interlock.errors import Duplicate
from interlock.identifiers import new_id
from interlock.testing.servers import PostgresServer
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

Open = Callable[[str], Awaitable[SqlBackend]]


def creation(me: Identity, *names: str, operation_id: str = "", email: str | None = None) -> Request:
    rows = tuple(check_row(CUSTOMERS, {"company_name": name, "email": email}) for name in names)
    return Request("create", "customers", me, rows=rows, operation_id=operation_id)


async def taken(stream: object, count: int) -> list[Change]:
    async with asyncio.timeout(PATIENCE):
        return [await anext(stream) for _ in range(count)]  # type: ignore[call-overload]  # an AsyncIterator


async def test_another_process_sees_each_write_once(url: str, opened: Open, me: Identity) -> None:
    one, two = await opened(url), await opened(url)
    stream = two.changes("customers", me)
    first = asyncio.create_task(taken(stream, 1))
    async with asyncio.timeout(PATIENCE):
        while not first.done():  # the stream is live from some moment on
            await one.handle(creation(me, "beacon"))
            await asyncio.wait({first}, timeout=0.02)
    created = (await one.handle(creation(me, "seen"))).outcomes[0].row
    own = (await two.handle(creation(me, "own"))).outcomes[0].row
    assert created is not None
    assert own is not None
    patch = MappingProxyType({"notes": "x"})
    changed = (await one.handle(Request("update", "customers", me, ids=(created.id,), patch=patch))).outcomes[0].row
    assert changed is not None
    await one.handle(Request("delete", "customers", me, ids=(own.id,)))
    found: list[Change] = []
    while sum(change.record_id in (created.id, own.id) for change in found) < 4:
        found += await taken(stream, 1)
    about = {known: [c.kind for c in found if c.record_id == known] for known in (created.id, own.id)}
    assert about == {created.id: ["created", "updated"], own.id: ["created", "deleted"]}
    assert next(c.row for c in found if c.kind == "updated") == changed


async def test_a_bulk_write_of_another_process_is_told_whole(
    postgres: PostgresServer, opened: Open, me: Identity
) -> None:
    url = postgres.new_database()
    one, two = await opened(url), await opened(url)
    stream = two.changes("customers", me)
    first = asyncio.create_task(taken(stream, 1))
    async with asyncio.timeout(PATIENCE):
        while not first.done():
            await one.handle(creation(me, "beacon"))
            await asyncio.wait({first}, timeout=0.02)
    rows = (await one.handle(creation(me, *(f"n{n}" for n in range(600))))).outcomes
    found: set[str] = set()
    while not {o.id for o in rows} <= found:
        found |= {c.record_id for c in await taken(stream, 1)}


async def test_watchers_read_again_after_a_restart(opened: Open, me: Identity) -> None:
    with PostgresServer() as own:
        url = own.new_database()
        backend = await opened(url)
        stream = backend.changes("customers", me)
        reading = asyncio.create_task(taken(stream, 1))
        await backend.handle(creation(me, "x"))
        assert (await reading)[0].kind == "created"
        own.stop()
        own.start()
        assert (await taken(stream, 1))[0].kind == "resync"
        await backend.handle(creation(me, "y"))
        assert (await taken(stream, 1))[0].kind == "created"


async def test_one_of_many_processes_gets_a_unique_value(url: str, opened: Open, me: Identity) -> None:
    backends = [await opened(url) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(b.handle(creation(me, f"n{n}", email=f"Same{n // 9}@example.test")) for n, b in enumerate(backends * 9))
    )
    won = [r.outcomes[0] for r in outcomes if r.outcomes[0].ok]
    assert len(won) == 3
    assert all(isinstance(r.outcomes[0].error, Duplicate) for r in outcomes if not r.outcomes[0].ok)
    holders = {r.outcomes[0].error.existing_id for r in outcomes if isinstance(r.outcomes[0].error, Duplicate)}
    assert holders == {outcome.id for outcome in won}


async def test_an_operation_is_done_once_among_processes(url: str, opened: Open, me: Identity) -> None:
    backends = [await opened(url) for _ in range(3)]
    request = creation(me, "a", "b", operation_id=new_id())
    answers = await asyncio.gather(*(b.handle(request) for b in backends * 4))
    assert all(answer.outcomes == answers[0].outcomes for answer in answers)
    assert (await backends[0].handle(Request("find", "customers", me, query=Query(count="exact")))).total == 2


async def test_numbers_are_given_once_among_processes(url: str, opened: Open, me: Identity) -> None:
    backends = [await opened(url) for _ in range(3)]
    customer = new_id()
    requests = [
        Request("create", "contracts", me, rows=(check_row(CONTRACTS, {"customer_id": customer, "title": str(n)}),))
        for n in range(30)
    ]
    answers = await asyncio.gather(*(backends[n % 3].handle(request) for n, request in enumerate(requests)))
    numbers = sorted(getattr(a.outcomes[0].row, "number", 0) for a in answers)
    assert len(set(numbers)) == 30
    assert numbers[0] == 1


async def test_writers_that_cross_end_all_the_same(url: str, opened: Open, me: Identity) -> None:
    backends = [await opened(url) for _ in range(2)]
    rows = (await backends[0].handle(creation(me, *(f"n{n}" for n in range(20))))).outcomes
    ids = [outcome.id for outcome in rows]
    answers = await asyncio.gather(
        *(
            b.handle(
                Request(
                    "update",
                    "customers",
                    me,
                    ids=tuple(ids if n % 2 else reversed(ids)),
                    patch=MappingProxyType({"notes": str(n)}),
                )
            )
            for n, b in enumerate(backends * 6)
        )
    )
    assert all(outcome.ok for answer in answers for outcome in answer.outcomes)
    found = (await backends[0].handle(Request("get", "customers", me, ids=tuple(ids)))).rows
    assert {row.version for row in found} == {13}
