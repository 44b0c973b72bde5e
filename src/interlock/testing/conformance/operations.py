"""Operation ids: the same id again answers the first outcome and writes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import Conflict, Duplicate, Invalid, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import SAMPLES

__all__ = ["OperationsSuite"]


class OperationsSuite(Suite):
    """A write may be sent again as often as one likes."""

    async def test_a_repeated_create_writes_once(self, caller: Caller) -> None:
        operation, row = new_id(), {"id": new_id(), "label": "once"}
        first = await caller.create(SAMPLES, [row], operation_id=operation)
        again = await caller.create(SAMPLES, [row], operation_id=operation)
        assert again == first
        assert await caller.labels(SAMPLES) == ["once"]

    async def test_a_repeated_update_writes_once(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation = new_id()
        first = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=1, operation_id=operation)
        again = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=1, operation_id=operation)
        assert first[0].ok
        assert again == first
        assert (await caller.one(SAMPLES, row.id)).version == 2

    async def test_a_repeated_write_answers_as_at_first_whatever_came_between(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation = new_id()
        first = await caller.update(SAMPLES, row.id, {"rank": 1}, operation_id=operation)
        later = await caller.change(row, SAMPLES, rank=2)
        again = await caller.update(SAMPLES, row.id, {"rank": 1}, operation_id=operation)
        assert again == first
        assert await caller.one(SAMPLES, row.id) == later

    async def test_a_repeated_delete_writes_once(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation = new_id()
        first = await caller.delete(SAMPLES, row.id, operation_id=operation)
        again = await caller.delete(SAMPLES, row.id, operation_id=operation)
        assert first[0].ok
        assert again == first

    async def test_a_repeated_restore_writes_once(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x"), SAMPLES)
        operation = new_id()
        first = await caller.restore(SAMPLES, row.id, operation_id=operation)
        gone = await caller.remove(row, SAMPLES)
        again = await caller.restore(SAMPLES, row.id, operation_id=operation)
        assert again == first
        assert await caller.get(SAMPLES, row.id) == ()
        assert gone.version == 4

    async def test_a_rejection_is_repeated_too(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", code="1")
        operation, record_id = new_id(), new_id()
        (first,) = await caller.create(SAMPLES, [{"id": record_id, "label": "y", "code": "1"}], operation_id=operation)
        assert isinstance(first.error, Duplicate)
        await caller.change(row, SAMPLES, code=None)
        (again,) = await caller.create(SAMPLES, [{"id": record_id, "label": "y", "code": "1"}], operation_id=operation)
        assert isinstance(again.error, Duplicate)
        assert (again.error.field, again.error.existing_id) == ("code", row.id)
        assert await caller.labels(SAMPLES) == ["x"]

    async def test_a_conflict_is_repeated_with_its_record(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation = new_id()
        (first,) = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=2, operation_id=operation)
        assert isinstance(first.error, Conflict)
        await caller.change(row, SAMPLES, rank=7)
        (again,) = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=2, operation_id=operation)
        assert isinstance(again.error, Conflict)
        assert (again.error.expected_version, again.error.current) == (2, row)
        assert (await caller.one(SAMPLES, row.id)).rank == 7

    async def test_not_found_is_repeated(self, caller: Caller) -> None:
        operation, record_id = new_id(), new_id()
        (first,) = await caller.update(SAMPLES, record_id, {"rank": 1}, operation_id=operation)
        await caller.add(SAMPLES, id=record_id, label="late")
        (again,) = await caller.update(SAMPLES, record_id, {"rank": 1}, operation_id=operation)
        assert isinstance(first.error, NotFound)
        assert isinstance(again.error, NotFound)
        assert (again.error.resource, again.error.id) == ("samples", record_id)

    async def test_many_outcomes_are_repeated_in_order(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation, ids = new_id(), (row.id, new_id(), row.id)
        first = await caller.delete(SAMPLES, ids, operation_id=operation)
        again = await caller.delete(SAMPLES, ids, operation_id=operation)
        assert [(o.id, o.ok, o.row, type(o.error)) for o in again] == [
            (o.id, o.ok, o.row, type(o.error)) for o in first
        ]

    @pytest.mark.parametrize("other", ["patch", "id", "expected_version", "verb", "row"])
    async def test_an_operation_id_is_for_one_request(self, caller: Caller, other: str) -> None:
        row, second = await caller.add_all(SAMPLES, {"label": "x"}, {"label": "y"})
        operation = new_id()
        await caller.update(SAMPLES, row.id, {"rank": 1}, operation_id=operation)
        with pytest.raises(Invalid) as found:  # noqa: PT012 - one statement runs, whichever is asked for
            match other:
                case "patch":
                    await caller.update(SAMPLES, row.id, {"rank": 2}, operation_id=operation)
                case "id":
                    await caller.update(SAMPLES, second.id, {"rank": 1}, operation_id=operation)
                case "expected_version":
                    await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=2, operation_id=operation)
                case "verb":
                    await caller.delete(SAMPLES, row.id, operation_id=operation)
                case "row":
                    await caller.create(SAMPLES, [{"label": "z"}], operation_id=operation)
        assert set(found.value.fields) == {"operation_id"}
        assert (await caller.one(SAMPLES, row.id)).rank == 1
        assert await caller.one(SAMPLES, second.id) == second
        assert len(await caller.ids(SAMPLES)) == 2

    async def test_another_row_under_the_same_id_is_another_request(self, caller: Caller) -> None:
        operation = new_id()
        await caller.create(SAMPLES, [{"label": "a"}], operation_id=operation)
        with pytest.raises(Invalid):
            await caller.create(SAMPLES, [{"label": "a"}], operation_id=operation)

    @pytest.mark.parametrize(
        "values",
        [
            {"amount": "1.10", "happened_at": "2026-01-01T00:00:00.000001Z", "place": {"lat": 1.5, "lon": 2.5}},
            {"marks": ["a", "b"], "detail": {"note": "n", "sizes": [1]}, "day": "0001-01-01"},
        ],
        ids=["numbers", "nested"],
    )
    async def test_every_kind_of_value_is_recognised_again(self, caller: Caller, values: dict[str, Any]) -> None:
        operation, row = new_id(), {"id": new_id(), "label": "x", **values}
        first = await caller.create(SAMPLES, [row], operation_id=operation)
        assert await caller.create(SAMPLES, [row], operation_id=operation) == first
        operation = new_id()
        first = await caller.update(SAMPLES, str(row["id"]), values, operation_id=operation)
        assert await caller.update(SAMPLES, str(row["id"]), values, operation_id=operation) == first

    async def test_a_repeated_operation_takes_no_number_twice(self, caller: Caller) -> None:
        operation, row = new_id(), {"id": new_id(), "label": "x"}
        for _ in range(3):
            await caller.create(SAMPLES, [row], operation_id=operation)
        assert (await caller.one(SAMPLES, str(row["id"]))).number == 1
