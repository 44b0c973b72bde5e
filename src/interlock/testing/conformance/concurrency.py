"""Calls at the same time: one winner, no number twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from interlock.errors import Conflict, Duplicate, InterlockError, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import SAMPLES

__all__ = ["ConcurrencySuite"]

T = TypeVar("T")


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All answers; the calls run at the same time."""
    return list(await asyncio.gather(*calls))


class ConcurrencySuite(Suite):
    """Races have one outcome, whoever wins."""

    async def test_of_two_updates_of_one_version_one_wins(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        answers = await together(caller.update(SAMPLES, row.id, {"rank": n}, expected_version=1) for n in range(8))
        errors = [outcome.error for (outcome,) in answers]
        assert errors.count(None) == 1
        assert {type(error) for error in errors if error} == {Conflict}
        found = await caller.one(SAMPLES, row.id)
        assert (found.rank, found.version) == (errors.index(None), 2)

    async def test_updates_without_a_version_are_all_counted(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        answers = await together(caller.update(SAMPLES, row.id, {"rank": n}) for n in range(8))
        assert all(outcome.ok for (outcome,) in answers)
        versions = sorted(outcome.row.version for (outcome,) in answers if outcome.row)
        assert versions == list(range(2, 10))
        assert (await caller.one(SAMPLES, row.id)).version == 9

    async def test_updates_of_different_fields_lose_nothing(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        patches: list[dict[str, Any]] = [
            {"rank": 1},
            {"body_text": "t"},
            {"marks": ("m",)},
            {"active": True},
            {"code": "c"},
        ]
        await together(caller.update(SAMPLES, row.id, patch) for patch in patches)
        found = await caller.one(SAMPLES, row.id)
        assert (found.rank, found.body_text, found.marks, found.active, found.code) == (1, "t", ("m",), True, "c")

    async def test_of_many_creates_of_one_unique_value_one_wins(self, caller: Caller) -> None:
        answers = await together(
            caller.create(SAMPLES, [{"label": str(n), "email": ("One@x.test", "one@X.test")[n % 2]}]) for n in range(8)
        )
        errors = [outcome.error for (outcome,) in answers]
        assert errors.count(None) == 1
        assert {type(error) for error in errors if error} == {Duplicate}
        (winner,) = await caller.ids(SAMPLES)
        assert {error.existing_id for error in errors if isinstance(error, Duplicate)} == {winner}

    async def test_of_many_creates_of_one_id_one_wins(self, caller: Caller) -> None:
        record_id = new_id()
        answers = await together(caller.create(SAMPLES, [{"id": record_id, "label": str(n)}]) for n in range(6))
        errors = [outcome.error for (outcome,) in answers]
        assert errors.count(None) == 1
        assert {type(error) for error in errors if error} == {Duplicate}
        assert (await caller.one(SAMPLES, record_id)).label == str(errors.index(None))

    async def test_of_many_deletes_one_wins(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        answers = await together(caller.delete(SAMPLES, row.id) for _ in range(6))
        errors = [outcome.error for (outcome,) in answers]
        assert errors.count(None) == 1
        assert {type(error) for error in errors if error} == {NotFound}
        assert (await caller.one(SAMPLES, row.id, deleted="only")).version == 2

    async def test_of_many_restores_into_one_value_one_wins(self, caller: Caller) -> None:
        gone = [await caller.remove(await caller.add(SAMPLES, label=str(n), code="1"), SAMPLES) for n in range(4)]
        answers = await together(caller.restore(SAMPLES, row.id) for row in gone)
        errors = [outcome.error for (outcome,) in answers]
        assert errors.count(None) == 1
        assert {type(error) for error in errors if error} == {Duplicate}
        assert len(await caller.ids(SAMPLES)) == 1

    async def test_numbers_are_never_given_twice(self, caller: Caller) -> None:
        answers = await together(caller.create(SAMPLES, [{"label": f"{n}-{m}"} for m in range(5)]) for n in range(8))
        assert all(outcome.ok for outcomes in answers for outcome in outcomes)
        rows = (await caller.find(SAMPLES, limit=100)).rows
        assert len(rows) == 40
        assert [number for number, times in Counter(row.number for row in rows).items() if times > 1] == []

    async def test_one_operation_sent_many_times_at_once_writes_once(self, caller: Caller) -> None:
        operation, row = new_id(), {"id": new_id(), "label": "once"}
        answers = await together(caller.create(SAMPLES, [row], operation_id=operation) for _ in range(6))
        assert all(answer == answers[0] for answer in answers)
        assert answers[0][0].ok
        assert len(await caller.ids(SAMPLES)) == 1
        patch = {"rank": 1}
        operation = new_id()
        updates = await together(
            caller.update(SAMPLES, str(row["id"]), patch, operation_id=operation) for _ in range(6)
        )
        assert all(answer == updates[0] for answer in updates)
        assert (await caller.one(SAMPLES, str(row["id"]))).version == 2

    async def test_of_two_requests_with_one_operation_id_one_is_carried_out(self, caller: Caller) -> None:
        operation = new_id()

        async def attempt(label: str) -> str:
            try:
                (outcome,) = await caller.create(SAMPLES, [{"label": label}], operation_id=operation)
            except InterlockError as error:
                return error.code
            return "written" if outcome.ok else "rejected"

        assert sorted(await together(attempt(label) for label in "abcd")) == ["invalid"] * 3 + ["written"]
        assert len(await caller.ids(SAMPLES)) == 1

    async def test_bulk_updates_in_opposite_orders_both_end(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(12)))
        ids = [row.id for row in rows]
        answers = await together(caller.update(SAMPLES, ids if n % 2 else ids[::-1], {"rank": n}) for n in range(6))
        assert all(outcome.ok for outcomes in answers for outcome in outcomes)
        assert {row.version for row in await caller.get(SAMPLES, *ids)} == {7}

    async def test_tenants_do_not_hold_one_another_up(self, caller: Caller) -> None:
        callers = [caller, *(caller.elsewhere() for _ in range(4))]
        await together(one.add(SAMPLES, label=str(n), code="1") for n, one in enumerate(callers))
        found = await together(one.labels(SAMPLES) for one in callers)
        assert found == [[str(n)] for n in range(5)]
