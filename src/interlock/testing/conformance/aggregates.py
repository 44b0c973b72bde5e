"""Aggregates: exact sums by currency, buckets of time, groups of nulls."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest

from interlock.contract import GroupBy, GroupRow, Measure
from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, where
from interlock.testing.samples import SAMPLES

__all__ = ["AggregatesSuite"]

COUNT: Final = Measure("count")


class AggregatesSuite(Suite):
    """Figures that are right to the last digit."""

    async def test_without_groups_there_is_one_row(self, caller: Caller) -> None:
        assert await caller.aggregate(SAMPLES) == (GroupRow((), (0,)),)
        await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        assert await caller.aggregate(SAMPLES) == (GroupRow((), (2,)),)

    async def test_with_groups_of_nothing_there_is_none(self, caller: Caller) -> None:
        assert await caller.aggregate(SAMPLES, ["grade"]) == ()

    async def test_measures_of_nothing_are_none(self, caller: Caller) -> None:
        measures = (COUNT, Measure("sum", "rank"), Measure("min", "weight"), Measure("max", "label"))
        assert await caller.aggregate(SAMPLES, measures=measures) == (GroupRow((), (0, None, None, None)),)
        await caller.add(SAMPLES, label="x")
        assert await caller.aggregate(SAMPLES, measures=measures) == (GroupRow((), (1, None, None, "x")),)

    async def test_groups_are_ordered_with_nulls_last(self, caller: Caller) -> None:
        await caller.add_all(
            SAMPLES, *({"label": "x", "grade": grade} for grade in ("mid", "low", None, "high", "low", None))
        )
        assert await caller.aggregate(SAMPLES, ["grade"]) == (
            GroupRow(("high",), (1,)),
            GroupRow(("low",), (2,)),
            GroupRow(("mid",), (1,)),
            GroupRow((None,), (2,)),
        )

    async def test_text_groups_are_ordered_by_code_point(self, caller: Caller) -> None:
        labels = ("b", "B", "é", "\U0001d4b3", "\uffee", "a", "É", "ss", "ß")
        await caller.add_all(SAMPLES, *({"label": label} for label in labels))
        assert [group.key[0] for group in await caller.aggregate(SAMPLES, ["label"])] == sorted(labels)

    async def test_several_groups(self, caller: Caller) -> None:
        rows: list[dict[str, Any]] = [
            {"label": "x", "grade": grade, "active": active}
            for grade in ("low", None)
            for active in (True, False, None)
        ]
        await caller.add_all(SAMPLES, *rows, {"label": "x", "grade": "low", "active": True})
        assert await caller.aggregate(SAMPLES, ["grade", "active"]) == (
            GroupRow(("low", False), (1,)),
            GroupRow(("low", True), (2,)),
            GroupRow(("low", None), (1,)),
            GroupRow((None, False), (1,)),
            GroupRow((None, True), (1,)),
            GroupRow((None, None), (1,)),
        )

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("rank", (1, 7, 7)),
            ("active", (True, False, True)),
            ("weight", (Decimal("1.5"), Decimal("-2"), Decimal("1.50"))),
            ("day", (date(2026, 1, 1), date(1, 1, 1), date(2026, 1, 1))),
            ("happened_at", (datetime(2026, 1, 1, 1, 1, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC))),
            ("ratio", (0.1, -3.5, 0.1)),
            ("currency", ("USD", "EUR", "USD")),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_keys_have_the_type_of_their_field(self, caller: Caller, field: str, values: tuple[Any, ...]) -> None:
        await caller.add_all(SAMPLES, *({"label": "x", field: value} for value in values))
        groups = await caller.aggregate(SAMPLES, [field])
        assert [(group.key[0], group.values[0]) for group in groups] == [
            (v, values.count(v)) for v in sorted(set(values))
        ]
        assert {type(group.key[0]) for group in groups} == {type(values[0])}

    async def test_sums_of_money_are_exact_and_by_currency(self, caller: Caller) -> None:
        euros = [Decimal("0.1")] * 10 + [Decimal("0.2"), Decimal("999999999999.9999"), Decimal("-0.0001")]
        dollars = [Decimal("19.99"), Decimal("-20")]
        await caller.add_all(
            SAMPLES,
            *({"label": "x", "amount": amount, "currency": "EUR"} for amount in euros),
            *({"label": "x", "amount": amount, "currency": "USD"} for amount in dollars),
            {"label": "x", "currency": "USD"},
        )
        groups = await caller.aggregate(SAMPLES, ["currency"], [Measure("sum", "amount"), COUNT])
        assert [(group.key, group.values) for group in groups] == [
            (("EUR",), (sum(euros), 13)),
            (("USD",), (Decimal("-0.01"), 3)),
        ]
        assert all(type(group.values[0]) is Decimal for group in groups)

    async def test_many_large_sums_are_exact(self, caller: Caller) -> None:
        amounts = [Decimal("123456789012.3456") + n for n in range(200)]
        await caller.add_all(SAMPLES, *({"label": "x", "amount": amount} for amount in amounts))
        (group,) = await caller.aggregate(SAMPLES, ["currency"], [Measure("sum", "amount")])
        assert group.values == (sum(amounts),)

    async def test_money_is_never_summed_across_currencies(self, caller: Caller) -> None:
        with pytest.raises(Invalid) as found:
            await caller.aggregate(SAMPLES, [], [Measure("sum", "amount")])
        assert set(found.value.fields) == {"amount"}

    async def test_sums_of_numbers(self, caller: Caller) -> None:
        await caller.add_all(
            SAMPLES,
            {"label": "a", "rank": 4_000_000_000_000_000, "ratio": 0.5, "weight": Decimal("0.1")},
            {"label": "b", "rank": 4_000_000_000_000_001, "ratio": 0.25, "weight": Decimal("0.2")},
            {"label": "c"},
        )
        measures = [Measure("sum", "rank"), Measure("sum", "ratio"), Measure("sum", "weight")]
        (group,) = await caller.aggregate(SAMPLES, [], measures)
        assert group.values == (8_000_000_000_000_001, 0.75, Decimal("0.3"))
        assert [type(value) for value in group.values] == [int, float, Decimal]

    @pytest.mark.parametrize(
        ("field", "low", "high"),
        [
            ("rank", -3, 9),
            ("ratio", -0.5, 9.25),
            ("weight", Decimal("-10"), Decimal("9")),
            ("label", "B", "é"),
            ("code", "-", "\uffee"),
            ("grade", "high", "mid"),
            ("day", date(1, 1, 1), date(9999, 12, 31)),
            ("happened_at", datetime(1969, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
            ("active", False, True),
        ],
    )
    async def test_least_and_greatest(self, caller: Caller, field: str, low: Any, high: Any) -> None:
        rows = [{"label": "a", field: low}, {"label": "a", field: high}]
        await caller.add_all(SAMPLES, *rows, *([{"label": "a"}] if field != "label" else []))
        (group,) = await caller.aggregate(SAMPLES, [], [Measure("min", field), Measure("max", field)])
        assert group.values == (low, high)
        assert [type(value) for value in group.values] == [type(low), type(high)]

    @pytest.mark.parametrize(
        ("bucket", "keys"),
        [
            ("day", ("2025-12-31", "2026-01-01", "2026-01-31")),
            ("month", ("2025-12", "2026-01")),
            ("year", ("2025", "2026")),
        ],
    )
    async def test_times_fall_into_buckets_of_utc(self, caller: Caller, bucket: Any, keys: tuple[str, ...]) -> None:
        times = (
            "2025-12-31T23:59:59.999999Z",
            "2026-01-01T00:00:00Z",
            "2026-01-01T01:30:00+02:00",
            "2026-01-31T12:00:00Z",
        )
        await caller.add_all(SAMPLES, *({"label": "x", "happened_at": time} for time in times), {"label": "never"})
        groups = await caller.aggregate(SAMPLES, [GroupBy("happened_at", bucket)])
        assert [group.key[0] for group in groups] == [*keys, None]
        assert sum(group.values[0] for group in groups) == 5

    async def test_dates_fall_into_buckets(self, caller: Caller) -> None:
        days = (date(1, 1, 1), date(999, 12, 31), date(2026, 2, 28), date(2026, 2, 1), date(9999, 12, 31))
        await caller.add_all(SAMPLES, *({"label": "x", "day": day} for day in days))
        groups = await caller.aggregate(SAMPLES, [GroupBy("day", "month")])
        assert [(group.key[0], group.values[0]) for group in groups] == [
            ("0001-01", 1),
            ("0999-12", 1),
            ("2026-02", 2),
            ("9999-12", 1),
        ]
        assert [g.key[0] for g in await caller.aggregate(SAMPLES, [GroupBy("day", "year")])] == [
            "0001",
            "0999",
            "2026",
            "9999",
        ]

    async def test_a_bucket_and_a_plain_group(self, caller: Caller) -> None:
        await caller.add_all(
            SAMPLES,
            {"label": "x", "day": date(2026, 1, 5), "amount": Decimal("1.10"), "currency": "EUR"},
            {"label": "x", "day": date(2026, 1, 6), "amount": Decimal("2.20"), "currency": "EUR"},
            {"label": "x", "day": date(2026, 1, 6), "amount": Decimal("3"), "currency": "CHF"},
        )
        groups = await caller.aggregate(SAMPLES, [GroupBy("day", "month"), "currency"], [Measure("sum", "amount")])
        assert [(group.key, group.values) for group in groups] == [
            (("2026-01", "CHF"), (Decimal(3),)),
            (("2026-01", "EUR"), (Decimal("3.3"),)),
        ]

    async def test_only_what_the_query_finds_counts(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": f"x{n}", "rank": n, "grade": "low"} for n in range(6)))
        await caller.remove(rows[5], SAMPLES)
        groups = await caller.aggregate(SAMPLES, ["grade"], [COUNT, Measure("sum", "rank")], where("rank", "gt", 1))
        assert groups == (GroupRow(("low",), (3, 9)),)
        assert await caller.aggregate(SAMPLES, search="X3") == (GroupRow((), (1,)),)
        assert await caller.aggregate(SAMPLES, deleted="only") == (GroupRow((), (1,)),)

    async def test_a_page_does_not_cut_an_aggregate(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *({"label": "x"} for _ in range(60)))
        assert await caller.aggregate(SAMPLES, limit=1, offset=5) == (GroupRow((), (60,)),)

    @pytest.mark.parametrize(
        ("groups", "measures", "field"),
        [
            (["nope"], [COUNT], "nope"),
            (["marks"], [COUNT], "marks"),
            ([GroupBy("rank", "month")], [COUNT], "rank"),
            ([], [Measure("sum", "label")], "label"),
            ([], [Measure("max", "place")], "place"),
            ([], [Measure("sum", "nope")], "nope"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_an_aggregate_that_makes_no_sense_is_invalid(
        self, caller: Caller, groups: list[Any], measures: list[Measure], field: str
    ) -> None:
        with pytest.raises(Invalid) as found:
            await caller.aggregate(SAMPLES, groups, measures)
        assert set(found.value.fields) == {field}
