"""Two instances share nothing."""

from __future__ import annotations

import pytest

from interlock.entities import AUDIT
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, Subject
from interlock.testing.samples import SAMPLES

__all__ = ["InstancesSuite"]


class InstancesSuite(Suite):
    """An author overrides the fixture `another`: a second instance, on a store of its own."""

    @pytest.fixture
    def another(self) -> Subject:
        """A second instance of the backend, on a store of its own."""
        raise TypeError(
            "override the fixture `another`: it gives a Subject with a second instance on a store of its own"
        )

    async def test_two_instances_share_no_records(self, subject: Subject, another: Subject) -> None:
        one = Caller(subject)
        two = Caller(another, one.identity)
        row = await one.add(SAMPLES, label="here", code="1")
        assert await two.ids(SAMPLES) == []
        assert await two.get(SAMPLES, row.id) == ()
        there = await two.add(SAMPLES, id=row.id, label="there", code="1")
        assert there.number == 1
        assert await one.one(SAMPLES, row.id) == row
        assert len(await one.ids(AUDIT)) == len(await two.ids(AUDIT)) == 1

    async def test_two_instances_share_no_operations(self, subject: Subject, another: Subject) -> None:
        one = Caller(subject)
        two = Caller(another, one.identity)
        operation = new_id()
        await one.create(SAMPLES, [{"label": "here"}], operation_id=operation)
        (outcome,) = await two.create(SAMPLES, [{"label": "there"}], operation_id=operation)
        assert outcome.ok
        assert await two.labels(SAMPLES) == ["there"]
