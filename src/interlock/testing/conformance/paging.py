"""Paging by offset and by cursor, and counts."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.conformance.filters import ROWS
from interlock.testing.harness import Caller, order, where
from interlock.testing.oracle import in_order
from interlock.testing.samples import SAMPLES

__all__ = ["PagingSuite"]


async def walk(caller: Caller, **parts: Any) -> list[list[str]]:
    """The labels of all pages along the cursor."""
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        found = await caller.find(SAMPLES, cursor=cursor, **parts)
        pages.append([row.label for row in found.rows])
        cursor = found.next_cursor
        if cursor is None:
            return pages
        assert len(pages) < 100, "the cursor leads in a circle"


def numbered(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Values whose labels sort as they stand."""
    return [{"label": f"{n:03}", "rank": n % 3} for n in range(start, start + count)]


class PagingSuite(Suite):
    """Every row once, whatever happens meanwhile."""

    async def test_the_default_limit_is_fifty(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(53))
        found = await caller.find(SAMPLES)
        assert len(found.rows) == 50
        assert found.next_cursor is not None

    async def test_offset_and_limit_cut_a_page(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(7))
        pages = [await caller.labels(SAMPLES, sort=order("label"), limit=3, offset=offset) for offset in (0, 3, 6)]
        assert pages == [["000", "001", "002"], ["003", "004", "005"], ["006"]]

    async def test_a_page_past_the_end_is_empty_with_the_right_total(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(3))
        for offset in (3, 50, 1_000_000):
            found = await caller.find(SAMPLES, offset=offset, count="exact")
            assert (found.rows, found.total, found.next_cursor) == ((), 3, None)

    async def test_the_total_ignores_the_page(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(9))
        first = await caller.find(SAMPLES, where("rank", "eq", 0), sort=order("label"), limit=2, count="exact")
        assert (len(first.rows), first.total) == (2, 3)
        second = await caller.find(
            SAMPLES, where("rank", "eq", 0), sort=order("label"), limit=2, cursor=first.next_cursor, count="exact"
        )
        assert (len(second.rows), second.total) == (1, 3)
        third = await caller.find(SAMPLES, search="00", limit=1, offset=2, count="exact")
        assert (len(third.rows), third.total) == (1, 9)

    async def test_count_none_gives_no_total(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(2))
        assert (await caller.find(SAMPLES, count="none")).total is None

    async def test_an_estimate_is_a_number(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(2))
        total = (await caller.find(SAMPLES, count="estimated")).total
        assert isinstance(total, int)
        assert total >= 0

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
    async def test_the_last_page_has_no_cursor(self, caller: Caller, count: int) -> None:
        if count:
            await caller.add_all(SAMPLES, *numbered(count))
        pages = await walk(caller, sort=order("label"), limit=3)
        assert [label for page in pages for label in page] == [f"{n:03}" for n in range(count)]
        assert len(pages) == max(1, -(-count // 3)), "no page is empty but the only one"

    async def test_offset_pages_have_a_cursor_too(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(6))
        first = await caller.find(SAMPLES, sort=order("label"), limit=2, offset=1)
        assert first.next_cursor is not None
        assert await caller.labels(SAMPLES, sort=order("label"), cursor=first.next_cursor) == ["003", "004", "005"]

    @pytest.mark.parametrize("limit", [1, 2, 5])
    @pytest.mark.parametrize(
        "names",
        [
            (), ("label",), ("-label",), ("rank",), ("-rank",), ("ratio", "-label"), ("-amount",), ("weight",), ("active", "-rank"),
            ("day",), ("-happened_at",), ("grade", "code"), ("-code",), ("number",), ("-id",), ("created_at", "-weight"),
        ],
        ids=lambda names: "/".join(names) or "default",
    )  # fmt: skip
    async def test_a_cursor_gives_every_row_once_in_order(
        self, caller: Caller, names: tuple[str, ...], limit: int
    ) -> None:
        values = [*ROWS, *({**row, "label": f"{row['label']} 2", "code": None} for row in ROWS[:4])]
        rows = await caller.add_all(SAMPLES, *values)
        pages = await walk(caller, sort=order(*names), limit=limit)
        found = [label for page in pages for label in page]
        assert found == [row.label for row in in_order(rows, order(*names))]  # type: ignore[attr-defined]  # samples

    async def test_a_cursor_keeps_its_filter(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(12))
        pages = await walk(caller, where=where("rank", "ne", 1), search="0", sort=order("-label"), limit=3)
        assert pages == [["011", "009", "008"], ["006", "005", "003"], ["002", "000"]]

    @pytest.mark.parametrize("names", [("label",), ("-label",), ("rank", "label")], ids="/".join)
    async def test_rows_inserted_meanwhile_move_nothing(self, caller: Caller, names: tuple[str, ...]) -> None:
        rows = await caller.add_all(SAMPLES, *numbered(9, start=10))
        seen: list[str] = []
        cursor: str | None = None
        for step in range(9):
            found = await caller.find(SAMPLES, sort=order(*names), limit=2, cursor=cursor)
            seen.extend(row.label for row in found.rows)
            cursor = found.next_cursor
            if cursor is None:
                break
            await caller.add_all(SAMPLES, {"label": f"00{step}", "rank": 0}, {"label": f"09{step}", "rank": 2})
        old = [row.label for row in in_order(rows, order(*names))]  # type: ignore[attr-defined]  # samples
        assert [label for label in seen if label in old] == old
        assert len(seen) == len(set(seen)), "no row twice"

    async def test_the_default_order_is_stable_under_inserts(self, caller: Caller) -> None:
        for values in numbered(6):
            await caller.add(SAMPLES, **values)
        first = await caller.find(SAMPLES, limit=2)
        assert [row.label for row in first.rows] == ["005", "004"]
        await caller.add_all(SAMPLES, *numbered(4, start=100))
        second = await caller.find(SAMPLES, limit=2, cursor=first.next_cursor)
        assert [row.label for row in second.rows] == ["003", "002"]

    async def test_rows_deleted_meanwhile_hide_no_other(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *numbered(8))
        first = await caller.find(SAMPLES, sort=order("label"), limit=3)
        for index in (0, 2, 3):
            await caller.remove(rows[index], SAMPLES)
        second = await caller.find(SAMPLES, sort=order("label"), limit=3, cursor=first.next_cursor)
        assert [row.label for row in second.rows] == ["004", "005", "006"]

    async def test_the_limit_may_change_along_a_cursor(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(8))
        first = await caller.find(SAMPLES, sort=order("label"), limit=2)
        found = await caller.labels(SAMPLES, sort=order("label"), limit=4, cursor=first.next_cursor)
        assert found == ["002", "003", "004", "005"]

    async def test_a_cursor_of_another_order_is_invalid(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(5))
        cursor = (await caller.find(SAMPLES, sort=order("label"), limit=2)).next_cursor
        for names in ((), ("-label",), ("rank",), ("label", "rank")):
            with pytest.raises(Invalid) as found:
                await caller.find(SAMPLES, sort=order(*names), cursor=cursor)
            assert set(found.value.fields) == {"cursor"}

    @pytest.mark.parametrize("cursor", ["x", "nonsense", "e30", "ñ", "a b/+?&=", "bnVsbA", "WzEsMl0"], ids=ascii)
    async def test_what_is_no_cursor_is_invalid(self, caller: Caller, cursor: str) -> None:
        await caller.add_all(SAMPLES, *numbered(3))
        with pytest.raises(Invalid) as found:
            await caller.find(SAMPLES, cursor=cursor)
        assert set(found.value.fields) == {"cursor"}

    @pytest.mark.parametrize(
        "parts", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"count": "all"}, {"deleted": "maybe"}], ids=str
    )
    async def test_a_page_that_cannot_be_is_invalid(self, caller: Caller, parts: dict[str, Any]) -> None:
        with pytest.raises(Invalid) as found:
            await caller.find(SAMPLES, **parts)
        assert set(found.value.fields) == set(parts)

    async def test_a_page_holds_a_thousand(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *numbered(1001))
        found = await caller.find(SAMPLES, limit=1000, sort=order("label"), count="exact")
        assert (len(found.rows), found.total) == (1000, 1001)
        assert found.next_cursor is not None
