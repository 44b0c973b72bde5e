"""Values come back as they were written, whatever stands behind."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from interlock.contract import Point
from interlock.entities import CUSTOMERS, DEALS, STAGES, TICKETS
from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.conformance.texts import LITERAL, SPECIAL, UNICODE
from interlock.testing.harness import Caller
from interlock.testing.samples import SAMPLES, Detail

__all__ = ["ValuesSuite"]

VALUES: list[tuple[str, Any]] = [
    *(
        ("amount", Decimal(text))
        for text in ("0", "0.1", "-0.0001", "999999999999.9999", "-999999999999.9999", "1250.50", "1E+3")
    ),
    *(("weight", Decimal(text)) for text in ("0.0000", "3.1416", "100000000000")),
    *(("rank", value) for value in (0, -1, 2**53 - 1, -(2**53) + 1, 2**31, 2**32)),
    *(
        ("ratio", value)
        for value in (0.0, 0.1, 1 / 3, 1e-300, 1.7976931348623157e308, -2.5, 5e-324, 123456789.12345679)
    ),
    *(("active", value) for value in (True, False)),
    *(
        ("day", value)
        for value in (date(1, 1, 1), date(9999, 12, 31), date(1582, 10, 10), date(2024, 2, 29), date(1970, 1, 1))
    ),
    ("happened_at", datetime(1, 1, 1, tzinfo=UTC)),
    ("happened_at", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("happened_at", datetime(2026, 3, 29, 1, 30, 0, 1, tzinfo=UTC)),
    ("happened_at", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ("happened_at", datetime(2026, 1, 1, tzinfo=UTC)),
    ("marks", ()),
    ("marks", ("b", "a", "b")),
    ("marks", ('"', "\\", ",", "{}", "null", "NULL", " ", "é🎉", "a\nb", "%")),
    ("place", Point(0.0, 0.0)),
    ("place", Point(-90.0, 180.0)),
    ("place", Point(52.520008123456, -13.404954987654)),
    ("detail", Detail("", ())),
    ("detail", Detail('{"a": "\\u0041 é 🎉"}', (1, 2, 3))),
    ("grade", "mid"),
    ("code", ""),
    ("body_text", ""),
    ("body_text", " "),
    ("body_text", "  both sides  "),
    ("body_text", "\n"),
    ("body_text", "x" * 20_000),
    ("body_text", "🎉" * 20_000),
    ("body_text", "".join(chr(n) for n in range(0x20, 0x2100))),
    ("body_text", "\U0010fffd \ufffd \ufffe \ufeff \u200b \u202e"),
    ("body_text", "é e\u0301"),
]


class ValuesSuite(Suite):
    """Every kind of value, at its edges."""

    @pytest.mark.parametrize(("field", "value"), VALUES, ids=[f"{field}-{n}" for n, (field, _) in enumerate(VALUES)])
    async def test_a_value_comes_back(self, caller: Caller, field: str, value: Any) -> None:
        row = await caller.add(SAMPLES, label="x", **{field: value})
        for found in (row, await caller.one(SAMPLES, row.id), (await caller.find(SAMPLES)).rows[0]):
            assert getattr(found, field) == value
            assert type(getattr(found, field)) is type(value)

    @pytest.mark.parametrize("field", ["label", "body_text"])
    async def test_every_odd_text_comes_back(self, caller: Caller, field: str) -> None:
        texts = [*SPECIAL.values(), *LITERAL, *(text for pair in UNICODE.values() for text in pair)]
        rows = await caller.add_all(SAMPLES, *({"label": "x", field: text} for text in texts))
        assert [getattr(row, field) for row in rows] == texts
        found = await caller.get(SAMPLES, *(row.id for row in rows))
        assert found == rows
        for row, text in zip(rows[:12], reversed(texts), strict=False):
            assert getattr(await caller.change(row, SAMPLES, **{field: text}), field) == text

    async def test_every_value_may_be_null_again(self, caller: Caller) -> None:
        last = dict(VALUES)
        row = await caller.add(SAMPLES, label="x", **last)
        assert {name: getattr(row, name) for name in last} == last
        nothing = {name: () if name == "marks" else None for name in last}
        row = await caller.change(row, SAMPLES, **nothing)
        assert {name: getattr(row, name) for name in last} == nothing
        row = await caller.change(row, SAMPLES, **last)
        assert await caller.one(SAMPLES, row.id) == row
        assert {name: getattr(row, name) for name in last} == last

    async def test_times_are_given_back_in_utc(self, caller: Caller) -> None:
        local = datetime(2026, 7, 1, 12, 30, 0, 5, tzinfo=timezone(timedelta(hours=5, minutes=30)))
        row = await caller.add(SAMPLES, label="x", happened_at=local)
        for found in (row, await caller.one(SAMPLES, row.id)):
            assert found.happened_at == local
            assert found.happened_at is not None
            assert found.happened_at.utcoffset() == timedelta(0)

    async def test_text_is_not_normalised(self, caller: Caller) -> None:
        texts = ("\u00e9", "e\u0301", "\ufb01", "\u00c5", "\u212b")
        rows = await caller.add_all(SAMPLES, *({"label": text, "code": text} for text in texts))
        assert [row.label for row in await caller.get(SAMPLES, *(row.id for row in rows))] == list(texts)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("label", ""),
            ("label", "x" * 201),
            ("label", "nul \x00"),
            ("label", "lone \ud800"),
            ("label", None),
            ("rank", 2**53),
            ("rank", "4"),
            ("rank", 1.5),
            ("ratio", float("nan")),
            ("ratio", float("inf")),
            ("amount", Decimal("NaN")),
            ("amount", Decimal("1e12")),
            ("amount", Decimal("0.00001")),
            ("day", "2026-02-30"),
            ("happened_at", datetime(2026, 1, 1)),
            ("grade", "other"),
            ("currency", "euro"),
            ("email", "nobody"),
            ("marks", ("",)),
            ("marks", "red"),
            ("place", Point(91, 0)),
            ("place", {"lat": 1}),
            ("nope", 1),
        ],
        ids=lambda value: value if isinstance(value, str) and value.isalnum() and len(value) < 20 else "",
    )
    async def test_a_bad_value_is_invalid_and_nothing_is_written(self, caller: Caller, field: str, value: Any) -> None:
        with pytest.raises(Invalid) as found:
            await caller.create(SAMPLES, [{"label": "x", field: value}])
        assert set(found.value.fields) == {field}
        assert await caller.ids(SAMPLES) == []

    async def test_the_records_of_the_business_come_back(self, caller: Caller) -> None:
        customer = await caller.add(
            CUSTOMERS,
            company_name="Müller & Söhne, GmbH",
            contact_name="Zoë O'Neil",
            email="zoe@müller.test",
            phone="+49 (0)30 / 12-34",
            size="small",
            status="active",
            location=Point(52.5, 13.4),
            tags=("vip", "a,b"),
        )
        stage = await caller.add(STAGES, label="Won", position=3, probability=100, type="won")
        deal = await caller.add(
            DEALS,
            title="Big",
            customer_id=customer.id,
            stage_id=stage.id,
            amount=Decimal("12.34"),
            expected_close=date(2026, 3, 1),
        )
        ticket = await caller.add(
            TICKETS, subject="Help", customer_id=customer.id, due_at=datetime(2026, 1, 1, tzinfo=UTC)
        )
        assert await caller.one(CUSTOMERS, customer.id) == customer
        assert await caller.one(STAGES, stage.id) == stage
        assert await caller.one(DEALS, deal.id) == deal
        assert await caller.one(TICKETS, ticket.id) == ticket
        assert (customer.tags, customer.location) == (("vip", "a,b"), Point(52.5, 13.4))
