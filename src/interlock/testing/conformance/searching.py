"""Search: a folded substring of the searchable fields, every character literal."""

from __future__ import annotations

import pytest

from interlock.contract import Query
from interlock.entities import CUSTOMERS
from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.conformance.texts import LITERAL, SPECIAL, UNICODE
from interlock.testing.harness import Caller, where
from interlock.testing.oracle import expected
from interlock.testing.samples import SAMPLES, Sample

__all__ = ["SearchSuite"]


async def check(caller: Caller, rows: tuple[Sample, ...], *searches: str) -> None:
    """Holds the backend to what each search means."""
    for search in searches:
        found = await caller.find(SAMPLES, search=search, count="exact")
        wanted = expected(SAMPLES, rows, Query(search=search))
        assert [row.label for row in found.rows] == [row.label for row in wanted if isinstance(row, Sample)], repr(
            search
        )
        assert found.total == len(wanted), repr(search)


class SearchSuite(Suite):
    """What a user types is looked for as it is, without regard to case."""

    async def test_search_is_a_substring_of_any_searchable_field(self, caller: Caller) -> None:
        rows = await caller.add_all(
            SAMPLES,
            {"label": "Alpha Centauri", "body_text": "a star"},
            {"label": "Sun", "body_text": "the nearest star, not alpha"},
            {"label": "Earth", "code": "alpha"},
        )
        await check(caller, rows, "alpha", "ALPHA", "pha cen", "star", "sun", "zzz", "a", "arth")

    async def test_search_does_not_run_from_one_field_into_the_next(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, {"label": "one", "body_text": "two"})
        await check(caller, rows, "onetwo", "one two", "etw", "e t", "one\ntwo", "one\ttwo")

    async def test_nothing_typed_finds_everything(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, {"label": "a"}, {"label": "b"})
        await check(caller, rows, "")

    @pytest.mark.parametrize("case", SPECIAL)
    async def test_special_text_is_searched_literally(self, caller: Caller, case: str) -> None:
        text = SPECIAL[case]
        rows = await caller.add_all(
            SAMPLES,
            {"label": "itself", "body_text": text},
            {"label": "upper", "body_text": text.upper()},
            {"label": "inside", "body_text": f"<<{text}>>"},
            {"label": "other", "body_text": "something other"},
        )
        await check(caller, rows, text, text.upper(), text[:-1], text[1:])

    @pytest.mark.parametrize("character", LITERAL, ids=[f"u{ord(character):04x}" for character in LITERAL])
    async def test_each_character_is_searched_literally(self, caller: Caller, character: str) -> None:
        rows = await caller.add_all(
            SAMPLES,
            {"label": "with", "body_text": f"a{character}b"},
            {"label": "twice", "body_text": f"a{character}{character}b"},
            {"label": "without", "body_text": "axb"},
            {"label": "nothing", "body_text": "ab"},
        )
        await check(caller, rows, character, f"A{character}B", f"{character}{character}", f"a{character}")

    @pytest.mark.parametrize("case", UNICODE)
    async def test_both_sides_are_folded(self, caller: Caller, case: str) -> None:
        text, other = UNICODE[case]
        rows = await caller.add_all(
            SAMPLES, {"label": f"in {text} so"}, {"label": "x", "body_text": other}, {"label": "nothing"}
        )
        await check(caller, rows, text, other, text.upper(), text.lower(), other.lower())

    async def test_customers_are_searched(self, caller: Caller) -> None:
        rows = await caller.add_all(
            CUSTOMERS,
            {"company_name": "Blauer See Delikatessen", "city": "Mannheim"},
            {"company_name": "Chop-suey Chinese", "city": "Bern", "notes": "near MANNHEIM?"},
            {"company_name": "Ernst Handel", "city": "Graz", "phone": "Mannheim"},
        )
        assert set(await caller.ids(CUSTOMERS, search="mannheim")) == {rows[0].id, rows[1].id}

    async def test_search_follows_updates(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="Before", body_text="old text")
        row = await caller.change(row, SAMPLES, label="After", body_text=None)
        await check(caller, (row,), "before", "old", "after")

    async def test_search_and_filter_hold_together(self, caller: Caller) -> None:
        rows = await caller.add_all(
            SAMPLES, {"label": "Ann", "rank": 1}, {"label": "ann", "rank": 2}, {"label": "bob", "rank": 1}
        )
        assert await caller.ids(SAMPLES, where("rank", "eq", 1), search="ANN") == [rows[0].id]

    async def test_a_search_that_cannot_be_is_invalid(self, caller: Caller) -> None:
        for search in ("x" * 501, "nul\x00"):
            with pytest.raises(Invalid) as found:
                await caller.find(SAMPLES, search=search)
            assert set(found.value.fields) == {"search"}
