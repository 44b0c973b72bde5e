"""Writes too large for one request: sent in parts, answered as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.supabase.writes.conftest import ALL, Tokens
from tests.supabase.writes.test_lost import Losing

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.entities import CUSTOMERS
from interlock.errors import Conflict, Duplicate, Invalid, NotFound, Unsupported
from interlock.http import open_engine
from interlock.identifiers import new_id
from interlock.testing.harness import Caller, Subject, accepted, new_identity
from interlock.testing.samples import LEDGER, SAMPLES, LedgerLine
from interlock.validation import check_row

pytestmark = pytest.mark.anyio


@pytest.fixture
async def counted(stack: Any, tokens: Tokens) -> AsyncIterator[tuple[Caller, Losing]]:
    engine = Losing(open_engine())
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    backend = SupabaseBackend(settings, ALL, tokens=tokens, engine=engine)
    yield Caller(Subject(backend)), engine
    await backend.aclose()


async def test_a_thousand_rows_are_one_request(counted: tuple[Caller, Losing]) -> None:
    caller, engine = counted
    rows = [{"company_name": f"{n}", "email": f"{n}@x.test"} for n in range(1_000)]
    outcomes = await caller.create(CUSTOMERS, rows)
    assert engine.sent == 1
    assert [accepted(CUSTOMERS, outcome).company_name for outcome in outcomes] == [row["company_name"] for row in rows]


async def test_of_equal_values_in_different_parts_the_first_wins(caller: Caller) -> None:
    rows = [{"company_name": f"{n}", "email": f"{n}@x.test"} for n in range(2_100)]
    rows[2_050]["email"], rows[1_500]["email"] = "3@X.test", "700@x.TEST"
    outcomes = await caller.create(CUSTOMERS, rows)
    failed = {place: outcome.error for place, outcome in enumerate(outcomes) if not outcome.ok}
    assert set(failed) == {1_500, 2_050}
    assert [getattr(failed[place], "existing_id", "") for place in (1_500, 2_050)] == [outcomes[700].id, outcomes[3].id]


async def test_an_id_again_begins_another_part(caller: Caller) -> None:
    one, two = new_id(), new_id()
    rows = [{"id": one, "text": "1"}, {"id": two, "text": "2"}, {"id": one, "text": "3"}, {"id": two, "text": "4"}]
    operation = new_id()
    for _ in range(2):
        outcomes = await caller.create(LEDGER, rows, operation_id=operation)
        assert [outcome.ok for outcome in outcomes] == [True, True, False, False]
        assert all(isinstance(o.error, Duplicate) and o.error.field == "id" for o in outcomes[2:])


async def test_values_that_the_database_refuses_are_told_for_their_part(caller: Caller) -> None:
    """Validation lets none of these through; a table that somebody has made stricter may refuse more."""
    rows = [check_row(LEDGER, {"text": f"{n}"}) for n in range(1_002)]
    rows[1_001] = msgspec.structs.replace(rows[1_001], text="x" * 10_000)
    request = caller.request("create", LEDGER, rows=tuple(rows), operation_id=new_id())
    for _ in range(2):
        outcomes = (await caller.handle(request)).outcomes
        assert all(outcome.ok for outcome in outcomes[:1_000])
        assert [type(outcome.error) for outcome in outcomes[1_000:]] == [Invalid, Invalid]
    alone = caller.request("create", LEDGER, rows=(rows[1_001],), operation_id=new_id())
    with pytest.raises(Invalid):
        await caller.handle(alone)


async def test_one_large_operation_sent_twice_at_once_is_done_once(stack: Any, tokens: Tokens) -> None:
    who = new_identity()
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key)
    backends = [SupabaseBackend(settings, ALL, tokens=tokens) for _ in range(3)]
    callers = [Caller(Subject(backend), who) for backend in backends]
    rows = tuple(check_row(LEDGER, {"text": f"{n}"}) for n in range(3_300))
    request = callers[0].request("create", LEDGER, rows=rows, operation_id=new_id())
    answers = await asyncio.gather(*(caller.handle(request) for caller in callers))
    assert answers[0].outcomes == answers[1].outcomes == answers[2].outcomes
    assert all(outcome.ok for outcome in answers[0].outcomes)
    assert (await callers[0].find(LEDGER, limit=1, count="exact")).total == 3_300
    for backend in backends:
        await backend.aclose()


async def test_changes_of_many_in_parts(caller: Caller) -> None:
    made = await caller.create(CUSTOMERS, [{"company_name": f"{n}", "email": f"{n}@x.test"} for n in range(450)])
    ids = [outcome.id for outcome in made]
    asked = [*ids[:449], new_id(), ids[449]]
    outcomes = await caller.update(CUSTOMERS, asked, {"city": "Ulm"}, expected_version=1)
    assert [type(o.error) for o in outcomes if not o.ok] == [NotFound]
    assert {o.row.version for o in outcomes if o.row is not None} == {2}
    outcomes = await caller.update(CUSTOMERS, ids, {"city": "Bonn"}, expected_version=1)
    assert {type(outcome.error) for outcome in outcomes} == {Conflict}
    assert all(outcome.ok for outcome in await caller.delete(CUSTOMERS, ids))
    assert all(outcome.ok for outcome in await caller.restore(CUSTOMERS, ids))


async def test_rows_that_meet_no_key_are_restored_together(counted: tuple[Caller, Losing]) -> None:
    caller, engine = counted
    made = await caller.create(CUSTOMERS, [{"company_name": f"{n}", "email": f"{n}@x.test"} for n in range(80)])
    ids = [outcome.id for outcome in made]
    await caller.delete(CUSTOMERS, ids)
    engine.sent = 0
    assert all(outcome.ok for outcome in await caller.restore(CUSTOMERS, ids))
    assert engine.sent == 1


async def test_rows_that_meet_a_key_are_answered_alike_when_it_is_free_again(caller: Caller) -> None:
    made = await caller.create(SAMPLES, [{"label": f"{n}", "code": f"{n}"} for n in range(4)])
    ids = [outcome.id for outcome in made]
    await caller.delete(SAMPLES, ids)
    heir = await caller.add(SAMPLES, label="heir", code="2")
    operation = new_id()
    first = await caller.restore(SAMPLES, ids, operation_id=operation)
    assert [outcome.ok for outcome in first] == [True, True, False, True]
    await caller.remove(heir, SAMPLES)
    again = await caller.restore(SAMPLES, ids, operation_id=operation)
    assert [(o.row, type(o.error)) for o in again] == [(o.row, type(o.error)) for o in first]
    assert getattr(again[2].error, "existing_id", None) == heir.id


async def test_a_put_sent_again_answers_as_at_first(caller: Caller) -> None:
    row = await caller.add(SAMPLES, label="x")
    system = Caller(caller.subject, msgspec.structs.replace(caller.identity, role="system"))
    image = msgspec.structs.replace(row, version=5, label="copied")
    request = system.request("put", SAMPLES, rows=(image,), sequence=3, operation_id=new_id())
    first = (await system.handle(request)).outcomes
    assert first[0].row == image
    assert (await system.handle(request)).outcomes == first


async def test_internal_writes_are_not_recorded(caller: Caller) -> None:
    row = await caller.add(SAMPLES, label="x", code="1")
    (outcome,) = await caller.create(SAMPLES, [{"label": "y", "code": "1"}], operation_id="")
    assert getattr(outcome.error, "existing_id", None) == row.id
    for rank in (1, 2):
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": rank}, operation_id="")
        assert outcome.ok
    (outcome,) = await caller.update(SAMPLES, new_id(), {"code": "2"}, operation_id="")
    assert isinstance(outcome.error, NotFound)


async def test_a_write_of_no_items_has_no_outcomes(caller: Caller) -> None:
    assert await caller.create(SAMPLES, []) == ()
    assert await caller.delete(SAMPLES, []) == ()


@pytest.mark.parametrize("record_id", ['a","b', "a)", "*", "\\", "é", "a&version=eq.1", "%2C"])
async def test_odd_ids_are_not_found(caller: Caller, record_id: str) -> None:
    (outcome,) = await caller.update(SAMPLES, record_id, {"rank": 1})
    assert isinstance(outcome.error, NotFound)


@pytest.mark.parametrize("operation", ["a/b", "é ü", "line\nbreak", "0", "%", "x" * 200])
async def test_odd_operation_ids_are_kept(caller: Caller, operation: str) -> None:
    row = {"id": new_id(), "label": "x"}
    first = await caller.create(SAMPLES, [row], operation_id=operation)
    assert await caller.create(SAMPLES, [row], operation_id=operation) == first


async def test_credentials_and_lines_that_never_change_are_unsupported(caller: Caller) -> None:
    (outcome,) = await caller.create(LEDGER, [LedgerLine(text="x")])
    with pytest.raises(Unsupported):
        await caller.update(LEDGER, outcome.id, {"text": "y"})
    request = msgspec.structs.replace(caller.request("delete", LEDGER, ids=(new_id(),)), resource="credentials")
    with pytest.raises(Unsupported):
        await caller.handle(request)
