"""Unique keys: folded, of one tenant, freed by a delete, and in the way of a restore."""

from __future__ import annotations

import pytest

from interlock.entities import CUSTOMERS
from interlock.errors import Conflict, Duplicate
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller
from interlock.testing.samples import SAMPLES

__all__ = ["UniquenessSuite"]


class UniquenessSuite(Suite):
    """No two undeleted records of a tenant have the same unique value."""

    async def test_a_second_record_with_the_value_is_a_duplicate(self, caller: Caller) -> None:
        first = await caller.add(SAMPLES, label="first", code="C-1")
        (outcome,) = await caller.create(SAMPLES, [{"label": "second", "code": "C-1"}])
        assert isinstance(outcome.error, Duplicate)
        assert (outcome.error.resource, outcome.error.field) == ("samples", "code")
        assert outcome.error.existing_id == first.id
        assert await caller.ids(SAMPLES) == [first.id]

    async def test_nulls_never_clash(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"}, {"label": "c", "email": None})
        assert len(await caller.ids(SAMPLES)) == 3

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("Ann@Example.test", "ann@example.test"),
            ("ann@example.test", "ANN@EXAMPLE.TEST"),
            ("ÖZ@example.test", "öz@EXAMPLE.test"),
            ("ΟΔΟΣ@example.test", "οδοΣ@example.test"),
        ],
        ids=["mixed", "upper", "umlaut", "sigma"],
    )
    async def test_folded_values_compare_lower_cased(self, caller: Caller, first: str, second: str) -> None:
        row = await caller.add(SAMPLES, label="first", email=first)
        assert row.email == first, "the value is kept as it was written"
        (outcome,) = await caller.create(SAMPLES, [{"label": "second", "email": second}])
        assert isinstance(outcome.error, Duplicate)
        assert outcome.error.field == "email"

    async def test_values_that_are_not_folded_compare_exactly(self, caller: Caller) -> None:
        await caller.add_all(
            SAMPLES, {"label": "a", "code": "abc"}, {"label": "b", "code": "ABC"}, {"label": "c", "code": "abc "}
        )
        assert len(await caller.ids(SAMPLES)) == 3

    async def test_a_customers_address_is_unique(self, caller: Caller) -> None:
        first = await caller.add(CUSTOMERS, company_name="First", email="office@example.test")
        (outcome,) = await caller.create(CUSTOMERS, [{"company_name": "Second", "email": "Office@Example.test"}])
        assert isinstance(outcome.error, Duplicate)
        assert (outcome.error.field, outcome.error.existing_id) == ("email", first.id)

    async def test_an_update_into_a_taken_value_is_a_duplicate(self, caller: Caller) -> None:
        first, second = await caller.add_all(
            SAMPLES, {"label": "a", "email": "a@x.test"}, {"label": "b", "email": "b@x.test"}
        )
        (outcome,) = await caller.update(SAMPLES, second.id, {"email": "A@x.test", "rank": 1})
        assert isinstance(outcome.error, Duplicate)
        assert outcome.error.existing_id == first.id
        assert await caller.one(SAMPLES, second.id) == second

    async def test_a_conflict_comes_before_a_duplicate(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="a", code="1")
        row = await caller.add(SAMPLES, label="b", code="2")
        (outcome,) = await caller.update(SAMPLES, row.id, {"code": "1"}, expected_version=5)
        assert isinstance(outcome.error, Conflict)

    async def test_a_record_does_not_clash_with_itself(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="a", email="a@x.test", code="1")
        row = await caller.change(row, SAMPLES, email="A@X.test", code="1")
        assert (row.email, row.version) == ("A@X.test", 2)
        row = await caller.change(row, SAMPLES, label="b")
        assert row.version == 3

    async def test_a_value_that_was_given_up_is_free(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="a", code="1")
        await caller.change(row, SAMPLES, code="2")
        await caller.add(SAMPLES, label="b", code="1")
        await caller.change(row, SAMPLES, code=None)
        await caller.add(SAMPLES, label="c", code="2")

    async def test_a_deleted_record_frees_its_value(self, caller: Caller) -> None:
        await caller.remove(await caller.add(SAMPLES, label="a", email="a@x.test"), SAMPLES)
        row = await caller.add(SAMPLES, label="b", email="A@x.test")
        await caller.remove(row, SAMPLES)
        await caller.add(SAMPLES, label="c", email="a@X.test")

    async def test_restoring_into_a_taken_value_is_a_duplicate(self, caller: Caller) -> None:
        gone = await caller.remove(await caller.add(SAMPLES, label="a", email="a@x.test"), SAMPLES)
        heir = await caller.add(SAMPLES, label="b", email="A@x.test")
        (outcome,) = await caller.restore(SAMPLES, gone.id)
        assert isinstance(outcome.error, Duplicate)
        assert (outcome.error.field, outcome.error.existing_id) == ("email", heir.id)
        assert await caller.one(SAMPLES, gone.id, deleted="only") == gone
        await caller.remove(heir, SAMPLES)
        (outcome,) = await caller.restore(SAMPLES, gone.id)
        assert outcome.ok

    async def test_a_restored_record_holds_its_value_again(self, caller: Caller) -> None:
        gone = await caller.remove(await caller.add(SAMPLES, label="a", code="1"), SAMPLES)
        await caller.restore(SAMPLES, gone.id)
        (outcome,) = await caller.create(SAMPLES, [{"label": "b", "code": "1"}])
        assert isinstance(outcome.error, Duplicate)

    async def test_other_tenants_values_are_not_in_the_way(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="a", email="a@x.test", code="1")
        await caller.elsewhere().add(SAMPLES, label="a", email="a@x.test", code="1")
