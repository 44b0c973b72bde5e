"""The edges of what PostgREST gives: a thousand rows at once, a page past the end, questions that no URL holds."""

from __future__ import annotations

from typing import Any

import pytest

from interlock.contract import Condition
from interlock.errors import Invalid
from interlock.identifiers import new_id
from interlock.testing.conformance import Caller
from interlock.testing.samples import SAMPLES, Sample

pytestmark = pytest.mark.anyio


async def many(caller: Caller, count: int) -> tuple[Sample, ...]:
    return await caller.add_all(SAMPLES, *({"label": f"{n:05}", "rank": n} for n in range(count)))


@pytest.mark.parametrize("count", [999, 1000, 1001])
async def test_a_full_page_says_whether_more_follow(caller: Caller, way: str, count: int) -> None:
    await many(caller, count)
    answer = await caller.find(SAMPLES, limit=1000, count="exact", sort=())
    assert len(answer.rows) == min(count, 1000)
    assert answer.total == count
    assert (answer.next_cursor is not None) is (count > 1000)
    if answer.next_cursor:
        rest = await caller.find(SAMPLES, limit=1000, cursor=answer.next_cursor, count="exact")
        assert len(rest.rows) == count - 1000
        assert rest.total == count, "a cursor does not change how many there are"
        assert {row.id for row in rest.rows}.isdisjoint({row.id for row in answer.rows})


async def test_pages_by_cursor_join_without_gap(caller: Caller, way: str) -> None:
    rows = await many(caller, 250)
    seen, cursor = [], None
    while True:
        answer = await caller.find(SAMPLES, limit=37, cursor=cursor)
        seen += [row.id for row in answer.rows]
        cursor = answer.next_cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(row.id for row in rows)
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("count", ["none", "exact", "estimated"])
@pytest.mark.parametrize("offset", [2, 3, 4, 1000, 2**53 - 1])
async def test_a_page_past_the_end_is_empty_and_counted(caller: Caller, way: str, offset: int, count: Any) -> None:
    await many(caller, 3)
    for search in (None, "0"):
        answer = await caller.find(SAMPLES, offset=offset, count=count, search=search)
        assert len(answer.rows) == max(0, 3 - offset)
        assert answer.total == (None if count == "none" else 3)
        assert answer.next_cursor is None


@pytest.mark.parametrize("search", [None, "0", "nothing has this"])
async def test_counts_count_what_was_searched_for(caller: Caller, way: str, search: str | None) -> None:
    rows = await many(caller, 12)
    wanted = [row for row in rows if search is None or search in row.label]
    for limit in (1, 5, 12):
        answer = await caller.find(SAMPLES, search=search, limit=limit, count="exact")
        assert answer.total == len(wanted)
        assert len(answer.rows) == min(limit, len(wanted))


async def test_ten_thousand_values(caller: Caller) -> None:
    rows = await many(caller, 20)
    odd = ["'", '"', "\\", ",", "{}", "(", "NULL", ""]
    texts = tuple(row.label for row in rows[:7]) + tuple(f"{odd[n % 8]}{n}" for n in range(9_993))
    assert len(await caller.ids(SAMPLES, Condition("label", "in", texts))) == 7
    assert len(await caller.ids(SAMPLES, Condition("label", "nin", texts))) == 13
    ranks = tuple(range(5, 10_005))
    assert len(await caller.ids(SAMPLES, Condition("rank", "in", ranks), sort=())) == 15
    assert len(await caller.ids(SAMPLES, Condition("rank", "nin", ranks))) == 5
    with pytest.raises(Invalid):
        await caller.ids(SAMPLES, Condition("rank", "in", tuple(range(10_001))))


@pytest.mark.parametrize("count", [1, 149, 150, 151, 999, 1000, 1001, 2500])
async def test_any_number_of_ids(caller: Caller, count: int) -> None:
    rows = await many(caller, 3)
    missing = [new_id() for _ in range(count - 1)]
    asked = [*missing[: count // 2], rows[1].id, *missing[count // 2 :], rows[1].id]
    assert await caller.get(SAMPLES, *asked) == (rows[1],)
    assert await caller.get(SAMPLES, *(row.id for row in reversed(rows)), *missing) == tuple(reversed(rows))


@pytest.mark.parametrize("id", ["", "nothing", "a,b", ")", '"', "null", "\x00", "\ud800", "é" * 5000])
async def test_what_is_no_id_is_not_found(caller: Caller, id: str) -> None:
    (row,) = await many(caller, 1)
    assert await caller.get(SAMPLES, id, row.id, id) == (row,)
    assert await caller.get(SAMPLES, id) == ()


@pytest.mark.parametrize("length", range(7_300, 7_700, 25))
async def test_both_ways_meet_where_urls_end(caller: Caller, length: int) -> None:
    rows = await many(caller, 3)
    text = "x" * length
    assert await caller.ids(SAMPLES, Condition("label", "in", ("00001", text))) == [rows[1].id]
    assert len(await caller.ids(SAMPLES, Condition("label", "nin", ("00001", text)), sort=())) == 2


async def test_a_long_filter_under_a_cursor_and_a_count(caller: Caller) -> None:
    rows = await many(caller, 60)
    labels = tuple(row.label for row in rows) + tuple("x" * 40 + str(n) for n in range(500))
    wanted = Condition("label", "in", labels)
    first = await caller.find(SAMPLES, wanted, limit=25, count="exact")
    second = await caller.find(SAMPLES, wanted, limit=25, count="exact", cursor=first.next_cursor)
    last = await caller.find(SAMPLES, wanted, limit=25, count="exact", cursor=second.next_cursor)
    assert [answer.total for answer in (first, second, last)] == [60, 60, 60]
    assert [len(answer.rows) for answer in (first, second, last)] == [25, 25, 10]
    assert last.next_cursor is None
    seen = [row.id for answer in (first, second, last) for row in answer.rows]
    assert sorted(seen) == sorted(row.id for row in rows)
