"""Filters: every operator on every kind of field, nulls, nested groups, and literal characters."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, get_args

import pytest

from interlock.contract import Condition, Filter, Group, Operator, Point, Query
from interlock.errors import Invalid
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.conformance.texts import LITERAL, SPECIAL
from interlock.testing.harness import Caller, where
from interlock.testing.oracle import expected, holds
from interlock.testing.samples import SAMPLES, Detail, Sample

__all__ = ["FiltersSuite"]

OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)

ROWS: Final[tuple[dict[str, Any], ...]] = (
    {
        "label": "alpha",
        "code": "A",
        "grade": "low",
        "rank": -5,
        "ratio": -0.5,
        "amount": Decimal("-10.25"),
        "weight": Decimal("0.0001"),
        "active": False,
        "day": date(1969, 12, 31),
        "happened_at": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        "marks": ("red", "green"),
        "place": Point(0.0, 0.0),
        "detail": Detail("kept", (1, 2)),
    },
    {
        "label": "Beta",
        "code": "B",
        "grade": "mid",
        "rank": 0,
        "ratio": 0.0,
        "amount": Decimal(0),
        "weight": Decimal("1.5"),
        "active": True,
        "day": date(2026, 1, 31),
        "happened_at": datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC),
        "marks": ("green",),
    },
    {
        "label": "beta max",
        "code": "a",
        "grade": "high",
        "rank": 9_007_199_254_740_991,
        "ratio": 1e100,
        "amount": Decimal("999999999999.9999"),
        "weight": Decimal("1.50"),
        "active": True,
        "day": date(2026, 2, 1),
        "happened_at": datetime(2026, 1, 31, 12, 0, 0, 2, tzinfo=UTC),
        "marks": ("greenish", "GREEN"),
    },
    {"label": "none"},
    {
        "label": "élan",
        "code": "Z",
        "grade": "low",
        "rank": 7,
        "ratio": 0.1,
        "amount": Decimal("0.3"),
        "day": date(1, 1, 1),
    },
    {"label": "\U0001d4b3 beyond", "code": "é", "rank": 7, "ratio": 0.30000000000000004, "day": date(9999, 12, 31)},
    {"label": "\uffee halfwidth", "code": "z", "rank": 8, "weight": Decimal("-3"), "active": False},
)

OPERANDS: Final[dict[str, tuple[Any, ...]]] = {
    "label": ("beta", "Beta", "é", "\U0001d4b3 beyond", "\uffee halfwidth", "z", ""),
    "code": ("A", "B", "a", "é", "Z"),
    "grade": ("low", "mid", "high"),
    "rank": (-5, 0, 7, 9_007_199_254_740_991),
    "ratio": (-0.5, 0.0, 0.1, 0.30000000000000004, 1e100),
    "amount": (Decimal("-10.25"), Decimal("0.3"), Decimal("999999999999.9999"), Decimal("0.00")),
    "weight": (Decimal("1.5"), Decimal("0.0001"), Decimal("-3.0")),
    "active": (True, False),
    "day": (date(1, 1, 1), date(2026, 1, 31), date(9999, 12, 31)),
    "happened_at": (
        datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 1, 31, 12, 0, 0, 2, tzinfo=UTC),
    ),
    "number": (1, 3, 7),
    "version": (1, 2),
}

TEXTUAL: Final = frozenset({"label", "code", "grade"})
CASES: Final = [
    (field, op) for field in OPERANDS for op in OPERATORS if op not in ("contains", "startswith") or field in TEXTUAL
]


def conditions(field: str, op: Operator) -> list[Condition]:
    """Conditions with this operator that tell rows apart, among them the empty and the odd ones."""
    values = OPERANDS[field]
    match op:
        case "is_null":
            return [Condition(field, op, True), Condition(field, op, False)]
        case "in" | "nin":
            return [Condition(field, op, chosen) for chosen in ((), values[:1], values[1:], values)]
        case "between":
            return [
                Condition(field, op, (low, high))
                for low, high in (values[:2], (values[0], values[-1]), (values[-1], values[0]))
            ]
        case _:
            return [Condition(field, op, value) for value in values]


async def check(caller: Caller, rows: tuple[Sample, ...], *filters: Filter) -> None:
    """Holds the backend to what each filter means."""
    for condition in filters:
        found = await caller.find(SAMPLES, condition, count="exact")
        wanted = [row.label for row in rows if holds(condition, row)]
        assert sorted(row.label for row in found.rows) == sorted(wanted), f"for {condition}"
        assert found.total == len(wanted), f"the total for {condition}"


class FiltersSuite(Suite):
    """What a filter finds is what it means, on every kind of field."""

    @pytest.mark.parametrize(("field", "op"), CASES, ids=[f"{field}-{op}" for field, op in CASES])
    async def test_operator(self, caller: Caller, field: str, op: Operator) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        await check(caller, rows, *conditions(field, op))

    @pytest.mark.parametrize("op", ["eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "between"])
    async def test_operator_on_ids(self, caller: Caller, op: Operator) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        low, high = sorted((rows[1].id, rows[4].id))
        value: Any = {"in": (low, high, new_id()), "nin": (low,), "between": (low, high)}.get(op, low)
        await check(caller, rows, Condition("id", op, value))

    @pytest.mark.parametrize("op", ["eq", "ne", "lt", "lte", "gt", "gte", "between"])
    async def test_operator_on_created_at(self, caller: Caller, op: Operator) -> None:
        rows = tuple([await caller.add(SAMPLES, **values) for values in ROWS[:4]])
        times = [row.created_at for row in rows]
        value: Any = (times[1], times[2]) if op == "between" else times[1]
        await check(caller, rows, Condition("created_at", op, value))

    @pytest.mark.parametrize("field", ["parent_id", "created_by"])
    async def test_references_are_compared(self, caller: Caller, field: str) -> None:
        parent = await caller.add(SAMPLES, label="parent")
        child = await caller.colleague().add(SAMPLES, label="child", parent_id=parent.id)
        value = getattr(child, field)
        for op, operand in (
            ("eq", value),
            ("ne", value),
            ("in", (value, new_id())),
            ("nin", (value,)),
            ("is_null", True),
        ):
            await check(caller, (parent, child), Condition(field, op, operand))  # type: ignore[arg-type]  # operators

    async def test_a_list_contains_an_element(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS, {"label": "odd", "marks": ('a"b', "c,d", "{e}", "%", "")[:4]})
        for mark in ("green", "red", "gree", "GREEN", 'a"b', "c,d", "c", "{e}", "%", "_", '"', "red,green"):
            await check(caller, rows, where("marks", "contains", mark))

    @pytest.mark.parametrize("field", ["marks", "place", "detail"])
    async def test_is_null_on_what_has_no_order(self, caller: Caller, field: str) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        await check(caller, rows, where(field, "is_null", True), where(field, "is_null", False))

    async def test_null_matches_no_comparison(self, caller: Caller) -> None:
        await caller.add(SAMPLES, label="all null")
        for op, value in (("eq", 1), ("ne", 1), ("lt", 1), ("gte", 1), ("in", (1,)), ("nin", (1,)), ("nin", ())):
            assert await caller.ids(SAMPLES, Condition("rank", op, value)) == [], op  # type: ignore[arg-type]  # operators

    async def test_groups_nest(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        low, seven, null = where("grade", "eq", "low"), where("rank", "eq", 7), where("rank", "is_null", True)
        await check(
            caller,
            rows,
            Group("and", (low, seven)),
            Group("or", (low, seven)),
            Group("or", (Group("and", (low, seven)), null)),
            Group("and", (Group("or", (low, seven, null)), where("label", "ne", "none"))),
            Group(
                "and", (Group("or", (low, Group("and", (seven, Group("or", (null, seven)))))), Group("or", (seven,)))
            ),
        )

    async def test_empty_groups(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        every, none = Group("and", ()), Group("or", ())
        low = where("grade", "eq", "low")
        await check(
            caller, rows, every, none, Group("and", (every, low)), Group("or", (none, low)), Group("and", (none, low))
        )

    async def test_deep_and_wide_groups(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        deep: Filter = where("rank", "eq", 7)
        for level in range(14):
            deep = Group("and" if level % 2 else "or", (deep, where("label", "startswith", "é")))
        await check(caller, rows, deep, Group("or", tuple(where("rank", "eq", n) for n in range(150))))

    async def test_many_values(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        await check(caller, rows, where("rank", "in", tuple(range(2000))), where("rank", "nin", tuple(range(2000))))

    async def test_two_conditions_on_one_field(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *ROWS)
        await check(
            caller, rows, Group("and", (where("rank", "gt", -1), where("rank", "lt", 8), where("rank", "ne", 0)))
        )

    @pytest.mark.parametrize("case", SPECIAL)
    async def test_special_text_is_filtered_literally(self, caller: Caller, case: str) -> None:
        text = SPECIAL[case]
        rows = await caller.add_all(
            SAMPLES,
            {"label": "itself", "body_text": text},
            {"label": "inside", "body_text": f"<<{text}>>"},
            {"label": "start", "body_text": f"{text}!"},
            {"label": "other", "body_text": "something else entirely"},
            {"label": "null"},
        )
        for op in ("eq", "ne", "lt", "gt", "contains", "startswith"):
            await check(caller, rows, Condition("body_text", op, text))
        other = "something else entirely"
        await check(caller, rows, where("body_text", "in", (text, other)), where("body_text", "nin", (text, "x,y")))
        await check(caller, rows, where("body_text", "between", (min(text, other), max(text, other))))

    @pytest.mark.parametrize("character", LITERAL, ids=[f"u{ord(character):04x}" for character in LITERAL])
    async def test_each_character_is_filtered_literally(self, caller: Caller, character: str) -> None:
        rows = await caller.add_all(
            SAMPLES,
            {"label": "with", "body_text": f"a{character}b"},
            {"label": "first", "body_text": f"{character}ab"},
            {"label": "twice", "body_text": f"a{character}{character}b"},
            {"label": "without", "body_text": "axb"},
            {"label": "nothing", "body_text": "ab"},
        )
        for text in (character, f"a{character}b", f"{character}{character}"):
            await check(caller, rows, where("body_text", "contains", text), where("body_text", "startswith", text))
            await check(caller, rows, where("body_text", "eq", text), where("body_text", "in", (text, "ab")))

    async def test_contains_and_startswith_compare_case(self, caller: Caller) -> None:
        rows = await caller.add_all(
            SAMPLES, *({"label": label} for label in ("Beta", "beta", "BETA", "alphaBeta", "ß", "SS"))
        )
        for text in ("Beta", "beta", "B", "eta", "ß", "ss", ""):
            await check(caller, rows, where("label", "contains", text), where("label", "startswith", text))

    async def test_text_compares_as_it_is(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": label} for label in ("é", "e\u0301", "e", "E", "é ", " é")))
        for text in ("é", "e\u0301", "e", "é "):
            await check(
                caller, rows, where("label", "eq", text), where("label", "ne", text), where("label", "contains", text)
            )

    async def test_filters_and_search_and_deleted_hold_together(self, caller: Caller) -> None:
        rows = list(await caller.add_all(SAMPLES, *ROWS))
        rows[1] = await caller.remove(rows[1], SAMPLES)
        for deleted in ("without", "with", "only"):
            query = Query(where=where("rank", "gte", 0), search="beta", deleted=deleted, count="exact")
            found = await caller.find(SAMPLES, query.where, search="beta", deleted=deleted, count="exact")
            assert list(found.rows) == expected(SAMPLES, rows, query)

    @pytest.mark.parametrize(
        "condition",
        [
            Condition("nope", "eq", 1),
            Condition("label", "like", "x"),  # type: ignore[arg-type]  # an unknown operator
            Condition("rank", "eq", "many"),
            Condition("rank", "contains", "1"),
            Condition("grade", "eq", "nope"),
            Condition("day", "gt", "2026-13-01"),
            Condition("marks", "eq", "red"),
            Condition("place", "eq", None),
            Condition("rank", "eq", None),
            Condition("rank", "between", (1,)),
        ],
        ids=lambda condition: f"{condition.field}-{condition.op}",
    )
    async def test_a_filter_that_makes_no_sense_is_invalid(self, caller: Caller, condition: Condition) -> None:
        with pytest.raises(Invalid) as found:
            await caller.find(SAMPLES, Group("and", (condition,)))
        assert set(found.value.fields) == {condition.field}
