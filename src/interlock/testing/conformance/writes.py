"""Creating, updating, deleting and restoring: versions, conflicts, and the fields that the backend owns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from interlock.entities import TICKETS
from interlock.errors import Conflict, Duplicate, Invalid, NotFound, Unsupported
from interlock.identifiers import is_id, new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import LEDGER, SAMPLES, Sample

__all__ = ["WritesSuite"]


class WritesSuite(Suite):
    """One record at a time."""

    async def test_create_sets_the_server_owned_fields(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="first")
        user = caller.identity.user_id
        assert is_id(row.id)
        assert row.tenant_id == caller.identity.tenant_id
        assert (row.created_by, row.updated_by) == (user, user)
        assert row.version == 1
        assert row.deleted_at is None
        assert row.created_at is not None
        assert row.created_at == row.updated_at
        assert row.created_at.utcoffset() == timedelta(0)
        assert abs(datetime.now(UTC) - row.created_at) < timedelta(hours=1)

    async def test_create_keeps_the_given_id(self, caller: Caller) -> None:
        record_id = new_id()
        row = await caller.add(SAMPLES, id=record_id, label="given")
        assert row.id == record_id
        assert await caller.one(SAMPLES, record_id) == row

    async def test_create_fills_in_the_defaults(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="bare")
        assert row.currency == "EUR"
        assert row.marks == ()
        assert row.rank is None
        assert row.place is None

    async def test_what_was_written_is_read(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", rank=4, marks=("a", "b"))
        assert await caller.one(SAMPLES, row.id) == row
        assert (await caller.find(SAMPLES)).rows == (row,)

    @pytest.mark.parametrize(
        "field",
        ["tenant_id", "created_at", "updated_at", "created_by", "updated_by", "version", "deleted_at", "number"],
    )
    async def test_a_caller_may_not_set_a_server_owned_field(self, caller: Caller, field: str) -> None:
        value: Any = {"version": 3, "number": 3}.get(field, "2026-01-01T00:00:00Z")
        with pytest.raises(Invalid) as found:
            await caller.create(SAMPLES, [{"label": "x", field: value}])
        assert set(found.value.fields) == {field}
        row = await caller.add(SAMPLES, label="x")
        with pytest.raises(Invalid) as found:
            await caller.update(SAMPLES, row.id, {field: value})
        assert set(found.value.fields) == {field}

    async def test_create_with_a_taken_id_is_a_duplicate(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="first")
        (outcome,) = await caller.create(SAMPLES, [{"id": row.id, "label": "second"}])
        assert isinstance(outcome.error, Duplicate)
        assert (outcome.error.field, outcome.error.existing_id) == ("id", row.id)
        assert await caller.one(SAMPLES, row.id) == row

    async def test_create_with_the_id_of_a_deleted_record_is_a_duplicate(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="first"), SAMPLES)
        (outcome,) = await caller.create(SAMPLES, [{"id": row.id, "label": "second"}])
        assert isinstance(outcome.error, Duplicate)
        assert outcome.error.field == "id"

    async def test_update_changes_what_the_patch_names(self, caller: Caller) -> None:
        before = await caller.add(SAMPLES, label="x", rank=1, body_text="kept")
        editor = caller.colleague()
        after = await editor.change(before, SAMPLES, rank=2)
        assert after.version == 2
        assert after.updated_by == editor.identity.user_id
        assert after.updated_at is not None
        assert before.updated_at is not None
        assert after.updated_at >= before.updated_at
        silent = {"version": 1, "updated_at": before.updated_at, "updated_by": before.updated_by, "rank": 1}
        assert msgspec.structs.replace(after, **silent) == before
        assert await caller.one(SAMPLES, before.id) == after

    async def test_null_clears_and_absent_leaves(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", rank=1, body_text="text", marks=("a",))
        row = await caller.change(row, SAMPLES, body_text=None)
        assert (row.body_text, row.rank, row.marks) == (None, 1, ("a",))
        row = await caller.change(row, SAMPLES, marks=(), rank=0)
        assert (row.rank, row.marks) == (0, ())

    async def test_an_empty_patch_changes_nothing(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        assert await caller.change(row, SAMPLES) == row
        assert await caller.one(SAMPLES, row.id) == row

    async def test_a_patch_of_the_same_values_changes_nothing(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", rank=1, marks=("a",))
        assert await caller.change(row, SAMPLES, label="x", rank=1, marks=("a",), body_text=None) == row

    async def test_each_accepted_write_adds_one_to_the_version(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        versions = [row.version]
        for rank in range(3):
            row = await caller.change(row, SAMPLES, rank=rank)
            versions.append(row.version)
        row = await caller.remove(row, SAMPLES)
        versions.append(row.version)
        (outcome,) = await caller.restore(SAMPLES, row.id)
        assert isinstance(outcome.row, Sample)
        assert [*versions, outcome.row.version] == [1, 2, 3, 4, 5, 6]

    async def test_update_of_the_expected_version_is_accepted(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=1)
        assert outcome.ok
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": 2}, expected_version=2)
        assert outcome.ok

    async def test_update_of_another_version_is_a_conflict_with_the_current_record(self, caller: Caller) -> None:
        row = await caller.change(await caller.add(SAMPLES, label="x"), SAMPLES, rank=1)
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": 2}, expected_version=1)
        assert isinstance(outcome.error, Conflict)
        assert (outcome.error.id, outcome.error.expected_version) == (row.id, 1)
        assert outcome.error.current == row
        assert outcome.row is None
        assert await caller.one(SAMPLES, row.id) == row

    async def test_a_conflict_comes_before_finding_that_nothing_changes(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        (outcome,) = await caller.update(SAMPLES, row.id, {"label": "x"}, expected_version=9)
        assert isinstance(outcome.error, Conflict)

    async def test_delete_of_another_version_is_a_conflict(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        (outcome,) = await caller.delete(SAMPLES, row.id, expected_version=2)
        assert isinstance(outcome.error, Conflict)
        assert outcome.error.current == row
        assert await caller.one(SAMPLES, row.id) == row

    async def test_restore_of_another_version_is_a_conflict(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x"), SAMPLES)
        (outcome,) = await caller.restore(SAMPLES, row.id, expected_version=1)
        assert isinstance(outcome.error, Conflict)
        (outcome,) = await caller.restore(SAMPLES, row.id, expected_version=2)
        assert outcome.ok

    async def test_update_of_what_is_not_there_is_not_found(self, caller: Caller) -> None:
        record_id = new_id()
        (outcome,) = await caller.update(SAMPLES, record_id, {"rank": 1})
        assert isinstance(outcome.error, NotFound)
        assert (outcome.error.resource, outcome.error.id) == ("samples", record_id)
        (outcome,) = await caller.update(SAMPLES, record_id, {}, expected_version=1)
        assert isinstance(outcome.error, NotFound)

    async def test_update_of_a_deleted_record_is_not_found(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x"), SAMPLES)
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=1)
        assert isinstance(outcome.error, NotFound)

    async def test_delete_hides_the_record_and_keeps_it(self, caller: Caller) -> None:
        before = await caller.add(SAMPLES, label="x", rank=3)
        editor = caller.colleague()
        gone = await editor.remove(before, SAMPLES)
        assert gone.deleted_at is not None
        assert gone.deleted_at == gone.updated_at
        assert gone.updated_by == editor.identity.user_id
        assert (gone.version, gone.rank) == (2, 3)
        assert await caller.get(SAMPLES, before.id) == ()
        assert await caller.ids(SAMPLES) == []
        assert await caller.get(SAMPLES, before.id, deleted="with") == (gone,)

    async def test_delete_of_what_is_not_there_is_not_found(self, caller: Caller) -> None:
        (outcome,) = await caller.delete(SAMPLES, new_id())
        assert isinstance(outcome.error, NotFound)

    async def test_delete_of_a_deleted_record_is_not_found(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x"), SAMPLES)
        (outcome,) = await caller.delete(SAMPLES, row.id)
        assert isinstance(outcome.error, NotFound)
        assert await caller.one(SAMPLES, row.id, deleted="with") == row

    async def test_restore_brings_the_record_back(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x", rank=3), SAMPLES)
        (outcome,) = await caller.restore(SAMPLES, row.id)
        back = outcome.row
        assert isinstance(back, Sample)
        assert (back.deleted_at, back.version, back.rank) == (None, 3, 3)
        assert await caller.one(SAMPLES, row.id) == back

    async def test_restore_of_an_undeleted_record_changes_nothing(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        (outcome,) = await caller.restore(SAMPLES, row.id)
        assert outcome.row == row

    async def test_restore_of_what_is_not_there_is_not_found(self, caller: Caller) -> None:
        (outcome,) = await caller.restore(SAMPLES, new_id())
        assert isinstance(outcome.error, NotFound)

    @pytest.mark.parametrize("verb", ["update", "delete", "restore"])
    async def test_append_only_records_never_change(self, caller: Caller, verb: str) -> None:
        row = await caller.add(LEDGER, text="for good")
        for record_id in (row.id, new_id()):
            with pytest.raises(Unsupported):
                await (
                    caller.update(LEDGER, record_id, {"text": "other"})
                    if verb == "update"
                    else getattr(caller, verb)(LEDGER, record_id)
                )
        assert await caller.one(LEDGER, row.id) == row

    async def test_sequence_counts_from_one(self, caller: Caller) -> None:
        rows = [await caller.add(SAMPLES, label=str(n)) for n in range(3)]
        assert [row.number for row in rows] == [1, 2, 3]

    async def test_sequence_counts_on_after_a_delete(self, caller: Caller) -> None:
        await caller.remove(await caller.add(SAMPLES, label="gone"), SAMPLES)
        assert (await caller.add(SAMPLES, label="next")).number > 1

    async def test_sequences_are_of_one_tenant_and_one_entity(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        assert (await caller.elsewhere().add(SAMPLES, label="c")).number == 1
        assert (await caller.add(TICKETS, subject="d")).number == 1

    async def test_a_parent_of_the_same_service_is_kept(self, caller: Caller) -> None:
        parent = await caller.add(SAMPLES, label="parent")
        child = await caller.add(SAMPLES, label="child", parent_id=parent.id)
        assert child.parent_id == parent.id
        assert (await caller.change(child, SAMPLES, parent_id=None)).parent_id is None
