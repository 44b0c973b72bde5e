"""`put`: exact images under a sequence guard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from interlock.entities import AUDIT
from interlock.errors import Duplicate, Invalid
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, where
from interlock.testing.samples import SAMPLES, Sample

__all__ = ["PutSuite"]


def image(caller: Caller, **values: Any) -> Sample:
    """A whole row as another backend might have it."""
    return Sample(
        **{
            "id": new_id(),
            "tenant_id": caller.identity.tenant_id,
            "created_at": datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            "updated_at": datetime(2021, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            "created_by": new_id(),
            "updated_by": new_id(),
            "version": 7,
            "number": 40,
            "label": "image",
            **values,
        }
    )


class PutSuite(Suite):
    """What a copy of another backend's rows needs."""

    async def test_put_writes_the_exact_image(self, caller: Caller) -> None:
        row = image(caller, rank=3, marks=("a",))
        (outcome,) = await caller.put(SAMPLES, row, sequence=1)
        assert outcome.row == row
        assert await caller.one(SAMPLES, row.id) == row

    async def test_put_replaces_the_whole_row(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", rank=1, code="1", body_text="text")
        new = image(caller, id=row.id, version=3, label="y")
        (outcome,) = await caller.put(SAMPLES, new, sequence=5)
        assert outcome.ok
        assert await caller.one(SAMPLES, row.id) == new

    async def test_put_of_a_lower_or_the_same_sequence_writes_nothing(self, caller: Caller) -> None:
        row = image(caller)
        await caller.put(SAMPLES, row, sequence=5)
        for sequence in (4, 5, 1):
            (outcome,) = await caller.put(SAMPLES, image(caller, id=row.id, label="late"), sequence=sequence)
            assert (outcome.id, outcome.row, outcome.error) == (row.id, None, None)
        assert await caller.one(SAMPLES, row.id) == row
        newer = image(caller, id=row.id, label="newer", version=8)
        (outcome,) = await caller.put(SAMPLES, newer, sequence=6)
        assert outcome.row == newer

    async def test_put_answers_each_row(self, caller: Caller) -> None:
        old, new = image(caller, number=41), image(caller, number=42)
        await caller.put(SAMPLES, old, sequence=9)
        outcomes = await caller.put(SAMPLES, image(caller, id=old.id), new, sequence=3)
        assert [outcome.row for outcome in outcomes] == [None, new]

    async def test_put_of_a_deleted_image_hides_the_row(self, caller: Caller) -> None:
        row = image(caller)
        await caller.put(SAMPLES, row, sequence=1)
        gone = image(caller, id=row.id, deleted_at=datetime(2022, 1, 1, tzinfo=UTC), version=8)
        await caller.put(SAMPLES, gone, sequence=2)
        assert await caller.ids(SAMPLES) == []
        assert await caller.one(SAMPLES, row.id, deleted="only") == gone

    async def test_put_holds_unique_values(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", email="a@x.test")
        (outcome,) = await caller.put(SAMPLES, image(caller, email="A@x.test"), sequence=1)
        assert isinstance(outcome.error, Duplicate)
        assert (outcome.error.field, outcome.error.existing_id) == ("email", row.id)

    async def test_put_raises_the_counter(self, caller: Caller) -> None:
        await caller.put(SAMPLES, image(caller, number=40), sequence=1)
        assert (await caller.add(SAMPLES, label="next")).number == 41
        await caller.put(SAMPLES, image(caller, number=12), sequence=1)
        assert (await caller.add(SAMPLES, label="next")).number == 42

    async def test_a_row_that_was_put_lives_on(self, caller: Caller) -> None:
        row = image(caller)
        await caller.put(SAMPLES, row, sequence=1)
        (outcome,) = await caller.update(SAMPLES, row.id, {"rank": 5}, expected_version=7)
        assert outcome.row is not None
        assert outcome.row.version == 8
        assert outcome.row.created_at == row.created_at
        assert await caller.ids(SAMPLES, search="IMAGE") == [row.id]

    async def test_put_leaves_no_trail(self, caller: Caller) -> None:
        row = image(caller)
        await caller.put(SAMPLES, row, sequence=1)
        assert await caller.ids(AUDIT, where("record_id", "eq", row.id)) == []

    async def test_an_audit_entry_is_put_once(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x")
        (entry,) = (await caller.find(AUDIT, where("record_id", "eq", row.id))).rows
        there = caller.elsewhere()
        copy = msgspec.structs.replace(entry, id=new_id(), tenant_id=there.identity.tenant_id)
        for sequence in (1, 2):
            await there.put(AUDIT, copy, sequence=sequence)
        assert (await there.find(AUDIT)).rows == (copy,)

    async def test_put_of_another_tenants_image_is_invalid(self, caller: Caller) -> None:
        with pytest.raises(Invalid):
            await caller.put(SAMPLES, image(caller, tenant_id=new_id()), sequence=1)
        assert await caller.ids(SAMPLES, deleted="with") == []
