"""Getting by id and finding without conditions."""

from __future__ import annotations

import pytest

from interlock.contract import Deleted
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.oracle import in_order
from interlock.testing.samples import SAMPLES

__all__ = ["ReadsSuite"]


class ReadsSuite(Suite):
    """`get`, `find`, and the three ways to treat deleted records."""

    async def test_an_empty_tenant_has_nothing(self, caller: Caller) -> None:
        found = await caller.find(SAMPLES, count="exact")
        assert (found.rows, found.total, found.next_cursor) == ((), 0, None)
        assert await caller.get(SAMPLES, new_id()) == ()

    async def test_get_keeps_the_order_of_the_ids(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(5)))
        wanted = [rows[n].id for n in (3, 0, 4, 1, 2)]
        assert [row.id for row in await caller.get(SAMPLES, *wanted)] == wanted

    async def test_get_leaves_out_what_is_missing(self, caller: Caller) -> None:
        one, two = await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        found = await caller.get(SAMPLES, new_id(), two.id, new_id(), one.id)
        assert found == (two, one)

    async def test_get_answers_an_id_once(self, caller: Caller) -> None:
        one, two = await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        assert await caller.get(SAMPLES, two.id, one.id, two.id, one.id) == (two, one)

    async def test_get_has_no_page_limit(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(130)))
        assert await caller.get(SAMPLES, *(row.id for row in rows)) == rows

    @pytest.mark.parametrize("deleted", ["without", "with", "only"])
    async def test_deleted_records_are_found_as_asked(self, caller: Caller, deleted: Deleted) -> None:
        kept, gone = await caller.add_all(SAMPLES, {"label": "kept"}, {"label": "gone"})
        await caller.remove(gone, SAMPLES)
        wanted = {"without": {kept.id}, "with": {kept.id, gone.id}, "only": {gone.id}}[deleted]
        found = await caller.find(SAMPLES, deleted=deleted, count="exact")
        assert {row.id for row in found.rows} == wanted
        assert found.total == len(wanted)
        assert {row.id for row in await caller.get(SAMPLES, kept.id, gone.id, deleted=deleted)} == wanted
        groups = await caller.aggregate(SAMPLES, deleted=deleted)
        assert groups[0].values == (len(wanted),)

    async def test_the_newest_come_first(self, caller: Caller) -> None:
        rows = [await caller.add(SAMPLES, label=str(n)) for n in range(4)]
        assert list((await caller.find(SAMPLES)).rows) == in_order(rows, ())

    async def test_one_call_writes_in_the_default_order_by_id(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(4)))
        assert list((await caller.find(SAMPLES)).rows) == in_order(rows, ())

    async def test_rows_are_records_of_the_entity(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        for found in ((await caller.find(SAMPLES)).rows, await caller.get(SAMPLES, row.id)):
            assert type(found) is tuple
            assert [type(item) for item in found] == [SAMPLES.record]
