"""Tenants never meet: on every verb, and by every side door."""

from __future__ import annotations

import pytest

from interlock.contract import Measure, Near, Point
from interlock.entities import AUDIT
from interlock.errors import Conflict, Invalid, NotFound
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, order, where
from interlock.testing.samples import LEDGER, SAMPLES

__all__ = ["TenancySuite"]


class TenancySuite(Suite):
    """A record of another tenant is not found, never forbidden, and never changed."""

    async def test_find_sees_its_own_tenant_only(self, caller: Caller) -> None:
        other = caller.elsewhere()
        await other.add_all(SAMPLES, *({"label": f"theirs {n}", "rank": 1, "place": Point(1, 1)} for n in range(3)))
        mine = await caller.add(SAMPLES, label="mine", rank=1, place=Point(1, 1))
        for found in (
            await caller.find(SAMPLES, count="exact"),
            await caller.find(SAMPLES, where("rank", "eq", 1), count="exact"),
            await caller.find(SAMPLES, search="i", count="exact"),
            await caller.find(SAMPLES, near=Near(1, 1, 10), count="exact"),
            await caller.find(SAMPLES, sort=order("label"), deleted="with", count="exact"),
        ):
            assert found.rows == (mine,)
            assert found.total == 1

    async def test_a_filter_may_not_reach_over(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        for condition in (
            where("tenant_id", "eq", other.identity.tenant_id),
            where("tenant_id", "ne", caller.identity.tenant_id),
            where("id", "eq", theirs.id),
            where("created_by", "eq", other.identity.user_id),
        ):
            found = await caller.find(SAMPLES, condition, deleted="with", count="exact")
            assert (found.rows, found.total) == ((), 0)

    async def test_get_does_not_find_it(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        gone = await other.remove(await other.add(SAMPLES, label="gone"), SAMPLES)
        mine = await caller.add(SAMPLES, label="mine")
        assert await caller.get(SAMPLES, theirs.id, mine.id, gone.id, deleted="with") == (mine,)

    @pytest.mark.parametrize("expected_version", [None, 1, 7])
    async def test_writes_do_not_find_it(self, caller: Caller, expected_version: int | None) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs", rank=1)
        gone = await other.remove(await other.add(SAMPLES, label="gone"), SAMPLES)
        outcomes = [
            *await caller.update(SAMPLES, theirs.id, {"rank": 2}, expected_version=expected_version),
            *await caller.update(SAMPLES, theirs.id, {}, expected_version=expected_version),
            *await caller.delete(SAMPLES, theirs.id, expected_version=expected_version),
            *await caller.restore(SAMPLES, gone.id, expected_version=expected_version),
        ]
        assert [type(outcome.error) for outcome in outcomes] == [NotFound] * 4
        assert await other.one(SAMPLES, theirs.id) == theirs
        assert await other.one(SAMPLES, gone.id, deleted="only") == gone

    async def test_the_same_id_in_two_tenants_is_two_records(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs", rank=1)
        mine = await caller.add(SAMPLES, id=theirs.id, label="mine")
        assert mine.version == 1
        mine = await caller.change(mine, SAMPLES, rank=9)
        assert await other.one(SAMPLES, theirs.id) == theirs
        await caller.remove(mine, SAMPLES)
        assert await other.one(SAMPLES, theirs.id) == theirs
        assert await other.ids(SAMPLES) == [theirs.id]

    async def test_aggregates_count_their_own_tenant(self, caller: Caller) -> None:
        other = caller.elsewhere()
        await other.add_all(SAMPLES, {"label": "a", "rank": 5, "grade": "low"}, {"label": "b", "rank": 7})
        await caller.add(SAMPLES, label="c", rank=1)
        measures = [Measure("count"), Measure("sum", "rank"), Measure("max", "rank"), Measure("min", "label")]
        (group,) = await caller.aggregate(SAMPLES, [], measures, deleted="with")
        assert group.values == (1, 1, 1, "c")
        assert [group.key for group in await caller.aggregate(SAMPLES, ["tenant_id"])] == [(caller.identity.tenant_id,)]

    async def test_a_cursor_of_another_tenant_leads_to_ones_own_rows(self, caller: Caller) -> None:
        other = caller.elsewhere()
        await other.add_all(SAMPLES, *({"label": f"{n}"} for n in range(5)))
        cursor = (await other.find(SAMPLES, sort=order("label"), limit=1)).next_cursor
        mine = await caller.add(SAMPLES, label="mine")
        try:
            found = await caller.ids(SAMPLES, sort=order("label"), cursor=cursor)
        except Invalid:
            return
        assert set(found) <= {mine.id}

    async def test_operation_ids_are_of_one_tenant(self, caller: Caller) -> None:
        other = caller.elsewhere()
        operation, record_id = new_id(), new_id()
        await other.create(SAMPLES, [{"id": record_id, "label": "theirs", "rank": 1}], operation_id=operation)
        (mine,) = await caller.create(SAMPLES, [{"id": record_id, "label": "mine"}], operation_id=operation)
        assert mine.row is not None
        assert mine.row.tenant_id == caller.identity.tenant_id
        assert await caller.labels(SAMPLES) == ["mine"]
        assert await other.labels(SAMPLES) == ["theirs"]

    async def test_the_same_request_of_another_tenant_is_another_request(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        operation = new_id()
        (first,) = await other.update(SAMPLES, theirs.id, {"rank": 1}, operation_id=operation)
        assert first.ok
        (outcome,) = await caller.update(SAMPLES, theirs.id, {"rank": 1}, operation_id=operation)
        assert isinstance(outcome.error, NotFound)

    async def test_a_conflict_shows_ones_own_record(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        mine = await caller.add(SAMPLES, id=theirs.id, label="mine")
        (outcome,) = await caller.update(SAMPLES, theirs.id, {"rank": 1}, expected_version=9)
        assert isinstance(outcome.error, Conflict)
        assert outcome.error.current == mine

    async def test_append_only_records_are_kept_apart(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(LEDGER, text="theirs")
        assert await caller.ids(LEDGER) == []
        assert await caller.get(LEDGER, theirs.id) == ()

    async def test_the_trail_is_of_one_tenant(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        assert await other.ids(AUDIT, where("record_id", "eq", theirs.id)) != []
        assert await caller.ids(AUDIT) == []
        assert await caller.ids(AUDIT, where("record_id", "eq", theirs.id)) == []

    async def test_put_does_not_reach_over(self, caller: Caller) -> None:
        other = caller.elsewhere()
        theirs = await other.add(SAMPLES, label="theirs")
        with pytest.raises(Invalid):
            await caller.put(SAMPLES, theirs, sequence=10)
        assert await other.one(SAMPLES, theirs.id) == theirs
        assert await caller.ids(SAMPLES) == []
