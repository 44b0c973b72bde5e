"""The trail: one audit entry for each accepted item, none for anything else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from interlock.entities import AUDIT, AuditEntry
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, order, where
from interlock.testing.samples import LEDGER, SAMPLES

__all__ = ["TrailSuite"]


async def entries(caller: Caller, record_id: str) -> list[AuditEntry]:
    """The entries of a record, the oldest first."""
    found = await caller.find(AUDIT, where("record_id", "eq", record_id), sort=order("created_at"), limit=100)
    return list(found.rows)


def decoded(entry: AuditEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """The images before and after."""
    return msgspec.json.decode(entry.before), msgspec.json.decode(entry.after)


class TrailSuite(Suite):
    """Who did what to which record, and what it changed."""

    async def test_each_accepted_write_leaves_one_entry(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.change(row, SAMPLES, rank=1)
        await caller.remove(row, SAMPLES)
        await caller.restore(SAMPLES, row.id)
        found = await entries(caller, row.id)
        assert [entry.action for entry in found] == ["create", "update", "delete", "restore"]
        assert {entry.target for entry in found} == {"samples"}
        assert {entry.actor for entry in found} == {caller.identity.user_id}
        assert {entry.tenant_id for entry in found} == {caller.identity.tenant_id}

    async def test_an_entry_says_what_changed(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", rank=1, amount=Decimal("1.5"), body_text="same")
        await caller.change(row, SAMPLES, rank=None, label="y")
        created, updated = await entries(caller, row.id)
        before, after = decoded(created)
        assert before == {}
        assert after["label"] == "x"
        assert Decimal(after["amount"]) == Decimal("1.5")
        before, after = decoded(updated)
        assert before == {"label": "x", "rank": 1, "version": 1}
        assert after == {"label": "y", "rank": None, "version": 2}

    async def test_fields_have_their_names_on_the_wire(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.change(row, SAMPLES, body_text="new")
        _, updated = await entries(caller, row.id)
        assert decoded(updated)[1] == {"bodyText": "new", "version": 2}

    async def test_delete_and_restore_say_when(self, caller: Caller) -> None:
        row = await caller.remove(await caller.add(SAMPLES, label="x"), SAMPLES)
        await caller.restore(SAMPLES, row.id)
        _, deleted, restored = await entries(caller, row.id)
        assert decoded(deleted)[0]["deletedAt"] is None
        assert decoded(deleted)[1]["deletedAt"] is not None
        assert decoded(restored)[1] == {"deletedAt": None, "version": 3}

    async def test_each_item_of_a_bulk_write_has_its_entry(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n)} for n in range(3)))
        await caller.update(SAMPLES, [*(row.id for row in rows), new_id()], {"rank": 1})
        for row in rows:
            assert [entry.action for entry in await entries(caller, row.id)] == ["create", "update"]
        assert (await caller.find(AUDIT, count="exact")).total == 6

    async def test_a_rejected_write_leaves_none(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", code="1")
        record_id = new_id()
        await caller.create(SAMPLES, [{"id": record_id, "label": "y", "code": "1"}])
        await caller.update(SAMPLES, row.id, {"rank": 1}, expected_version=9)
        await caller.update(SAMPLES, record_id, {"rank": 1})
        await caller.delete(SAMPLES, row.id, expected_version=9)
        await caller.delete(SAMPLES, record_id)
        await caller.restore(SAMPLES, record_id)
        assert [entry.action for entry in await entries(caller, row.id)] == ["create"]
        assert (await caller.find(AUDIT, count="exact")).total == 1

    async def test_a_write_that_changes_nothing_leaves_none(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.change(row, SAMPLES)
        await caller.change(row, SAMPLES, label="x")
        await caller.restore(SAMPLES, row.id)
        assert [entry.action for entry in await entries(caller, row.id)] == ["create"]

    async def test_a_repeated_operation_leaves_one(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        operation = new_id()
        for _ in range(3):
            await caller.update(SAMPLES, row.id, {"rank": 1}, operation_id=operation)
        found = await entries(caller, row.id)
        assert [entry.action for entry in found] == ["create", "update"]
        assert found[1].operation_id == operation

    async def test_append_only_records_leave_a_trail_too(self, caller: Caller) -> None:
        row = await caller.add(LEDGER, text="x")
        assert [(entry.action, entry.target) for entry in await entries(caller, row.id)] == [("create", "ledger_lines")]

    async def test_reading_leaves_none(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        await caller.one(SAMPLES, row.id)
        await caller.find(SAMPLES)
        await caller.aggregate(SAMPLES)
        assert (await caller.find(AUDIT, count="exact")).total == 1
