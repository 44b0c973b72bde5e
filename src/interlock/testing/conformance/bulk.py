"""Writes of many items: one outcome each, in order, independent of one another."""

from __future__ import annotations

from interlock.errors import Conflict, Duplicate, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import SAMPLES, Sample

__all__ = ["BulkSuite"]


class BulkSuite(Suite):
    """Never silently partial."""

    async def test_create_answers_each_row_in_order(self, caller: Caller) -> None:
        taken = await caller.add(SAMPLES, label="taken", code="1")
        outcomes = await caller.create(
            SAMPLES,
            [
                {"label": "a", "code": "2"},
                {"label": "b", "code": "1"},
                {"label": "c", "id": taken.id},
                {"label": "d", "code": "2"},
                {"label": "e"},
            ],
        )
        assert [outcome.ok for outcome in outcomes] == [True, False, False, False, True]
        b, c, d = (outcome.error for outcome in outcomes[1:4])
        assert isinstance(b, Duplicate)
        assert (b.field, b.existing_id) == ("code", taken.id)
        assert isinstance(c, Duplicate)
        assert c.field == "id"
        assert isinstance(d, Duplicate)
        assert (d.field, d.existing_id) == ("code", outcomes[0].id)
        assert sorted(await caller.labels(SAMPLES)) == ["a", "e", "taken"]

    async def test_create_of_many(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": f"{n:04}", "code": f"{n}"} for n in range(700)))
        assert [row.label for row in rows] == [f"{n:04}" for n in range(700)]
        assert sorted(row.number for row in rows) == list(range(1, 701))
        assert (await caller.find(SAMPLES, count="exact")).total == 700

    async def test_update_answers_each_id_in_order(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(4)))
        await caller.remove(rows[1], SAMPLES)
        foreign = await caller.elsewhere().add(SAMPLES, label="foreign")
        missing = new_id()
        wanted = (rows[2].id, rows[1].id, missing, rows[0].id, foreign.id)
        outcomes = await caller.update(SAMPLES, wanted, {"rank": 5})
        assert [outcome.ok for outcome in outcomes] == [True, False, False, True, False]
        assert all(isinstance(outcome.error, NotFound) for outcome in outcomes if not outcome.ok)
        assert [(row.rank, row.version) for row in await caller.get(SAMPLES, rows[0].id, rows[2].id, rows[3].id)] == [
            (5, 2),
            (5, 2),
            (None, 1),
        ]

    async def test_update_checks_each_version(self, caller: Caller) -> None:
        one, two = await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        one = await caller.change(one, SAMPLES, rank=1)
        outcomes = await caller.update(SAMPLES, (one.id, two.id), {"rank": 9}, expected_version=1)
        assert isinstance(outcomes[0].error, Conflict)
        assert outcomes[0].error.current == one
        assert outcomes[1].ok
        assert [row.rank for row in await caller.get(SAMPLES, one.id, two.id)] == [1, 9]

    async def test_update_into_one_unique_value_lets_one_through(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(3)))
        outcomes = await caller.update(SAMPLES, [row.id for row in rows], {"code": "same"})
        assert [outcome.ok for outcome in outcomes] == [True, False, False]
        assert [type(outcome.error) for outcome in outcomes[1:]] == [Duplicate, Duplicate]
        assert [row.code for row in await caller.get(SAMPLES, *(row.id for row in rows))] == ["same", None, None]

    async def test_delete_and_restore_answer_each_id_in_order(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(3)))
        missing = new_id()
        outcomes = await caller.delete(SAMPLES, (rows[2].id, missing, rows[0].id))
        assert [outcome.ok for outcome in outcomes] == [True, False, True]
        assert isinstance(outcomes[1].error, NotFound)
        assert await caller.ids(SAMPLES) == [rows[1].id]
        outcomes = await caller.restore(SAMPLES, (missing, rows[0].id, rows[1].id, rows[2].id))
        assert [outcome.ok for outcome in outcomes] == [False, True, True, True]
        versions = [outcome.row.version for outcome in outcomes[1:] if isinstance(outcome.row, Sample)]
        assert versions == [3, 1, 3]

    async def test_deleting_an_id_twice_in_one_call_fails_the_second(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        outcomes = await caller.delete(SAMPLES, (row.id, row.id))
        assert outcomes[0].ok
        assert isinstance(outcomes[1].error, NotFound)

    async def test_updating_an_id_twice_in_one_call_changes_nothing_the_second_time(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        outcomes = await caller.update(SAMPLES, (row.id, row.id), {"rank": 1})
        assert [outcome.row.version for outcome in outcomes if outcome.row] == [2, 2]
        assert (await caller.one(SAMPLES, row.id)).version == 2

    async def test_creating_an_id_twice_in_one_call_fails_the_second(self, caller: Caller) -> None:
        record_id = new_id()
        outcomes = await caller.create(
            SAMPLES, [{"id": record_id, "label": "first"}, {"id": record_id, "label": "second"}]
        )
        assert outcomes[0].ok
        assert isinstance(outcomes[1].error, Duplicate)
        assert (await caller.one(SAMPLES, record_id)).label == "first"
