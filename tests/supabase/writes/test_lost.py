"""Answers that are lost: the same call again finds out what became of it, and writes nothing twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from tests.patience import PATIENCE
from tests.supabase.writes.conftest import ALL, Tokens

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.contract import Outcome, Request
from interlock.devstack import Stack
from interlock.entities import AUDIT
from interlock.errors import OutcomeUnknown, Unavailable
from interlock.http import Call, Engine, Reply, open_engine
from interlock.identifiers import new_id
from interlock.testing.harness import Caller, Subject, accepted
from interlock.testing.samples import SAMPLES
from interlock.validation import check_row

pytestmark = pytest.mark.anyio

When = Literal["before", "after"]


class Losing:
    """An engine that loses writes at the places drawn: `before` they are sent, or `after`, with their answer."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.lose: dict[int, When] = {}
        self.sent = 0

    async def send(self, call: Call) -> Reply:
        place, self.sent = self.sent, self.sent + 1
        when = self.lose.pop(place, None)
        if when == "before":
            raise Unavailable("cannot be reached")
        reply = await self._inner.send(call)
        if when == "after":
            if call.operation_id is None:
                raise Unavailable("the answer was lost")
            raise OutcomeUnknown(call.operation_id)
        return reply

    def stream(self, call: Call) -> Any:
        return self._inner.stream(call)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture
async def engine() -> AsyncIterator[Losing]:
    engine = Losing(open_engine())
    yield engine
    await engine.aclose()


@pytest.fixture
async def losing(stack: Any, tokens: Tokens, engine: Losing) -> AsyncIterator[Caller]:
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    backend = SupabaseBackend(settings, ALL, tokens=tokens, engine=engine)
    yield Caller(Subject(backend))
    await backend.aclose()


def shown(outcomes: Sequence[Outcome]) -> list[tuple[Any, ...]]:
    """Outcomes as they compare."""
    return [
        (
            o.id,
            o.row,
            type(o.error),
            str(o.error),
            getattr(o.error, "existing_id", None),
            getattr(o.error, "current", None),
        )
        for o in outcomes
    ]


async def settled(
    caller: Caller, request: Request, engine: Losing, lose: dict[int, When]
) -> tuple[tuple[Outcome, ...], int]:
    """The outcomes, after as many calls as it takes; and how many it took."""
    engine.sent, engine.lose = 0, dict(lose)
    for calls in range(1, 30):
        try:
            return (await caller.handle(request)).outcomes, calls
        except (OutcomeUnknown, Unavailable):
            continue
    raise AssertionError("it does not end")


async def requests(caller: Caller) -> dict[str, Request]:
    """Requests of every verb, each with items that are accepted and items that are not."""
    there = await caller.add_all(SAMPLES, *({"label": str(n), "code": f"{n}"} for n in range(6)))
    gone = [await caller.remove(row, SAMPLES) for row in there[4:]]
    await caller.add(SAMPLES, label="heir", code="4")
    rows = [{"label": "new", "code": code} for code in ("a", "0", "a", "b")] + [{"id": there[1].id, "label": "again"}]
    made = tuple(check_row(SAMPLES, row) for row in rows)
    ids = (there[0].id, new_id(), gone[0].id, there[1].id, there[0].id)
    patch = {"rank": 7}
    return {
        "create": caller.request("create", SAMPLES, rows=made, operation_id=new_id()),
        "update": caller.request("update", SAMPLES, ids=ids, patch=patch, expected_version=1, operation_id=new_id()),
        "unique": caller.request(
            "update", SAMPLES, ids=(there[2].id, there[3].id, new_id()), patch={"code": "same"}, operation_id=new_id()
        ),
        "restore": caller.request(
            "restore", SAMPLES, ids=(gone[0].id, gone[1].id, there[0].id, new_id()), operation_id=new_id()
        ),
        "delete": caller.request("delete", SAMPLES, ids=(there[0].id, there[0].id, new_id()), operation_id=new_id()),
    }


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("verb", ["create", "update", "unique", "restore", "delete"])
async def test_a_loss_anywhere_changes_no_outcome(
    caller: Caller, losing: Caller, engine: Losing, verb: str, when: When
) -> None:
    request = (await requests(caller))[verb]
    wanted = (await caller.handle(request)).outcomes
    unhurt = Caller(losing.subject)
    request = (await requests(unhurt))[verb]
    engine.sent = 0
    await unhurt.handle(request)
    assert engine.sent >= 2
    for place in range(engine.sent):
        who = Caller(losing.subject)
        request = (await requests(who))[verb]
        outcomes, calls = await settled(who, request, engine, {place: when})
        assert calls == 2
        assert [(o.ok, type(o.error)) for o in outcomes] == [(o.ok, type(o.error)) for o in wanted]
        again, _ = await settled(who, request, engine, {})
        assert shown(again) == shown(outcomes)
        trail = (await who.find(AUDIT, limit=100)).rows
        mine = Counter(entry.record_id for entry in trail if entry.operation_id == request.operation_id)
        assert set(mine.values()) == {1}


async def test_a_call_with_parts_that_is_cut_goes_on_where_it_was(losing: Caller, engine: Losing) -> None:
    rows = tuple(check_row(SAMPLES, {"label": str(n), "code": str(n)}) for n in range(3_500))
    request = losing.request("create", SAMPLES, rows=rows, operation_id=new_id())
    outcomes, calls = await settled(losing, request, engine, {1: "after", 4: "before", 6: "after"})
    assert calls > 2
    assert [o.id for o in outcomes] == [row.id for row in rows]
    assert [accepted(SAMPLES, outcome).number for outcome in outcomes] == list(range(1, 3_501))
    found = await losing.find(SAMPLES, limit=1, count="exact")
    assert found.total == 3_500


async def test_a_part_that_is_stopped_is_no_error_of_the_whole(losing: Caller, engine: Losing) -> None:
    rows = tuple(check_row(SAMPLES, {"label": str(n)}) for n in range(1_200))
    engine.lose, engine.sent = {1: "before"}, 0
    request = losing.request("create", SAMPLES, rows=rows, operation_id=new_id())
    with pytest.raises(OutcomeUnknown) as found:
        await losing.handle(request)
    assert found.value.operation_id == request.operation_id
    assert all(outcome.ok for outcome in (await losing.handle(request)).outcomes)


@asynccontextmanager
async def stopped(stack: Stack, part: Any) -> AsyncIterator[None]:
    await stack.stop_part(part)
    try:
        yield
    finally:
        await stack.start_part(part)


async def outcome_of(caller: Caller, request: Request) -> tuple[Outcome, ...]:
    """The outcomes, when the cause has gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return (await caller.handle(request)).outcomes
            except (OutcomeUnknown, Unavailable):
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("part", ["postgrest", "postgres"])
async def test_writes_while_a_server_is_killed_are_each_done_once(
    local_stack: Stack, caller: Caller, part: Literal["postgrest", "postgres"]
) -> None:
    batches = [tuple(check_row(SAMPLES, {"label": f"{b}-{n}"}) for n in range(40)) for b in range(24)]
    requests = [caller.request("create", SAMPLES, rows=rows, operation_id=new_id()) for rows in batches]
    permits = asyncio.Semaphore(4)
    first: list[str] = []
    begun = asyncio.Event()

    async def write(request: Request) -> tuple[Outcome, ...]:
        async with permits:
            try:
                return (await caller.handle(request)).outcomes
            except (OutcomeUnknown, Unavailable) as error:
                first.append(error.code)
                return await outcome_of(caller, request)
            finally:
                begun.set()

    writing = [asyncio.create_task(write(request)) for request in requests]
    await begun.wait()
    await local_stack.stop_part(part)
    await local_stack.start_part(part)
    answers = await asyncio.gather(*writing)
    assert first, "nothing was hit"
    assert all(outcome.ok for outcomes in answers for outcome in outcomes)
    again = await asyncio.gather(*(outcome_of(caller, request) for request in requests))
    assert again == answers
    assert (await caller.find(SAMPLES, count="exact", limit=1)).total == 24 * 40
    assert (await caller.find(AUDIT, count="exact", limit=1)).total == 24 * 40
    numbers = [accepted(SAMPLES, outcome).number for outcomes in answers for outcome in outcomes]
    assert len(set(numbers)) == 24 * 40
