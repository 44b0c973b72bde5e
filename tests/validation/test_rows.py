"""A row checked by one conversion comes out as it does field by field, and fails with the same words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from interlock import validation
from interlock.contract import Point
from interlock.entities import CONTRACTS, CUSTOMERS, DEALS
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.testing.samples import SAMPLES, Detail

ID = "0190d2f1-0000-7000-8000-000000000001"
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(max_size=5),
    st.dates(),
    st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), None])),
    st.lists(st.text(max_size=3), max_size=2),
    st.sampled_from(
        [
            "a\0b", "\ud800", "x" * 201, ID, "low", "a@b.c", "EUR", "2026-01-31", "2026-01-31T00:00:00Z", "0001-01-01T00:00:00+14:00", "-1",
            Decimal(-1), Decimal("0.00001"), Decimal(10) ** 13, Decimal("sNaN"), Decimal("Infinity"), Decimal("1e9999"), "NaN", "sNaN", float("nan"), 2**53, Point(1, 2), Point(91, 0), {"lat": 1, "lon": 2},
            Detail("n", (1,)), {"note": "n"}, date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC), ("a", "a\0"), [], "",
        ]
    ),
)  # fmt: skip


def outcome(entity: Entity[Any], row: dict[str, Any]) -> Any:
    try:
        return validation.check_row(entity, row)
    except Invalid as error:
        return error.fields


@given(st.data(), st.sampled_from([SAMPLES, CUSTOMERS, DEALS, CONTRACTS]))
def test_both_ways_agree(data: st.DataObject, entity: Entity[Any]) -> None:
    row = data.draw(st.dictionaries(st.sampled_from([*entity.fields, "unknown"]), values, max_size=5))
    row |= {
        name: "Name"
        for name in ("label", "company_name", "title")
        if name in entity.fields and data.draw(st.booleans())
    }
    with patch.object(validation, "new_id", lambda: ID):
        at_once = outcome(entity, row)
        with patch.object(validation, "_at_once", lambda entity, values: None):
            one_by_one = outcome(entity, row)
    assert msgspec.to_builtins(at_once, enc_hook=str) == msgspec.to_builtins(one_by_one, enc_hook=str)
    assert type(at_once) is type(one_by_one)
