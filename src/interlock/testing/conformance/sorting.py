"""Sorting: by code point, nulls last in both directions, always ending in the id."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest

from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.conformance.filters import ROWS
from interlock.testing.harness import Caller, order
from interlock.testing.oracle import in_order
from interlock.testing.samples import SAMPLES

__all__ = ["SortingSuite"]

LABELS: Final = ("a", "A", "b", "B", "Z", "z", "é", "e\u0301", "É", "ß", "ss", "10", "9", " a", "_", "-a", "a-b", "ab", "a b",
                 "\U0001d4b3", "\uffee", "\ue000", "日本", "Ω", "я", "🎉")  # fmt: skip


class SortingSuite(Suite):
    """One order, whatever stands behind."""

    @pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
    @pytest.mark.parametrize(
        "field",
        ["label", "code", "grade", "rank", "ratio", "amount", "weight", "active", "day", "happened_at", "number", "id"],
    )
    async def test_sort(self, caller: Caller, field: str, descending: bool) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        sort = order(f"-{field}" if descending else field)
        found = await caller.find(SAMPLES, sort=sort)
        assert [row.label for row in found.rows] == [row.label for row in in_order(rows, sort)]  # type: ignore[attr-defined]  # samples

    @pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
    async def test_text_sorts_by_code_point(self, caller: Caller, descending: bool) -> None:
        await caller.add_all(SAMPLES, *({"label": label} for label in LABELS))
        found = await caller.labels(SAMPLES, sort=order("-label" if descending else "label"))
        assert found == sorted(LABELS, reverse=descending)

    async def test_nulls_come_last_in_both_directions(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, {"label": "n1"}, {"label": "b", "rank": 2}, {"label": "a", "rank": 1})
        assert await caller.labels(SAMPLES, sort=order("rank")) == ["a", "b", "n1"]
        assert await caller.labels(SAMPLES, sort=order("-rank")) == ["b", "a", "n1"]

    async def test_false_comes_before_true(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, {"label": "t", "active": True}, {"label": "f", "active": False}, {"label": "n"})
        assert await caller.labels(SAMPLES, sort=order("active")) == ["f", "t", "n"]
        assert await caller.labels(SAMPLES, sort=order("-active")) == ["t", "f", "n"]

    async def test_numbers_sort_as_numbers(self, caller: Caller) -> None:
        amounts = ("9", "10", "-1", "0.5", "100.25", "-20")
        await caller.add_all(SAMPLES, *({"label": text, "amount": Decimal(text)} for text in amounts))
        assert await caller.labels(SAMPLES, sort=order("amount")) == ["-20", "-1", "0.5", "9", "10", "100.25"]

    async def test_times_sort_to_the_microsecond_across_the_years(self, caller: Caller) -> None:
        times = [
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 500000, tzinfo=UTC),
        ]
        await caller.add_all(SAMPLES, *({"label": f"{time}", "happened_at": time} for time in times))
        assert await caller.labels(SAMPLES, sort=order("happened_at")) == [str(time) for time in sorted(times)]

    async def test_ties_are_broken_by_the_id(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": "same", "day": date(2026, 1, 1)} for _ in range(8)))
        wanted = sorted(row.id for row in rows)
        assert await caller.ids(SAMPLES, sort=order("label")) == wanted
        assert await caller.ids(SAMPLES, sort=order("-label", "day")) == wanted

    @pytest.mark.parametrize(
        "names", [("grade", "-rank"), ("-active", "label"), ("-rank", "-amount", "code")], ids="/".join
    )
    async def test_several_keys(self, caller: Caller, names: tuple[str, ...]) -> None:
        values: list[dict[str, Any]] = [*ROWS, *({**row, "label": f"{row['label']} 2", "code": None} for row in ROWS)]
        rows = await caller.add_all(SAMPLES, *values)
        found = await caller.find(SAMPLES, sort=order(*names))
        assert [row.id for row in found.rows] == [row.id for row in in_order(rows, order(*names))]

    @pytest.mark.parametrize("field", ["marks", "place", "detail", "nope"])
    async def test_what_has_no_order_is_invalid(self, caller: Caller, field: str) -> None:
        with pytest.raises(Invalid) as found:
            await caller.find(SAMPLES, sort=order(field))
        assert set(found.value.fields) == {field}
