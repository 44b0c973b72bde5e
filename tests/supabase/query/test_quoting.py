"""No character of a value is ever taken for syntax: of a URL, of PostgREST, of arrays, of regular expressions, of SQL."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from interlock.contract import Condition, Filter, Group, Query
from interlock.entity import fold
from interlock.testing.conformance import Caller, Subject
from interlock.testing.oracle import expected
from interlock.testing.samples import SAMPLES, Sample

pytestmark = pytest.mark.anyio

ASCII: Final = "\t\n\r" + "".join(map(chr, range(0x20, 0x80)))
BEYOND: Final = (
    "\x80\x85\xa0\xad\xdf\xe9\u0130\u0131\u0149\u01c5\u0301\u0345\u03a3\u03c2\u0587\u0660\u066b\u200b\u200d\u200e\u2028\u2029"
    "\u202e\u3000\ufb01\ufeff\uff02\uff07\uff0c\uff0e\uff1a\uff3c\ufffd\uffff\U0001d4b3\U0001f389\U000e0041\U0010ffff"
)
CHARACTERS: Final = ASCII + BEYOND
PACKS: Final = [CHARACTERS[start : start + 14] for start in range(0, len(CHARACTERS), 14)]


def named(characters: str) -> str:
    return f"{ord(characters[0]):04x}-{ord(characters[-1]):04x}"


def forms(character: str) -> tuple[str, ...]:
    """Where a character may stand."""
    return (character, f"{character}b", f"a{character}", f"a{character}b", character * 2, f'\\{character}"')


def questions(character: str) -> list[Filter]:
    """Every operator on texts, with the character everywhere in its values, and all in groups."""
    texts = forms(character)
    found: list[Filter] = [
        Condition("body_text", op, text)
        for op in ("eq", "ne", "lt", "lte", "gt", "gte", "contains", "startswith")
        for text in (character, f"a{character}b")
    ]
    found += [Condition("body_text", op, chosen) for op in ("in", "nin") for chosen in (texts[:1], texts[2:4], texts)]
    found.append(Condition("body_text", "between", (character, f"{character}b")))
    found += [Condition("marks", "contains", text) for text in (*texts, f"a,{character}")]
    for op in ("and", "or"):
        pair = (Condition("body_text", "contains", character), Condition("marks", "contains", f"a{character}"))
        found.append(Group(op, (Group("or", pair), Group("and", (*pair, Condition("label", "ne", character))))))
    return found


async def rows_with(caller: Caller, character: str) -> list[Sample]:
    rows: list[dict[str, Any]] = [{"label": "x", "body_text": text} for text in forms(character)]
    rows += [{"label": "m", "marks": (text, f"a,{character}")} for text in forms(character)]
    others = ("", "ab", "a", "b", "axb", "null", "{}", '"', "\\")
    rows += [{"label": character, "body_text": text, "marks": ("ab",)} for text in others]
    return list(await caller.add_all(SAMPLES, *rows, {"label": "nothing"}))


async def check(caller: Caller, rows: list[Sample], where: Filter | None, **parts: Any) -> None:
    query = Query(where=where, limit=1000, **parts)
    found = await caller.find(SAMPLES, where, limit=1000, count="exact", **parts)
    wanted = expected(SAMPLES, rows, query)
    assert sorted(row.id for row in found.rows) == sorted(row.id for row in wanted), f"for {where} {parts}"
    assert found.total == len(wanted)


@pytest.mark.parametrize("pack", PACKS, ids=map(named, PACKS))
async def test_every_character_in_every_operator(subject: Subject, way: str, pack: str) -> None:
    async def one(character: str) -> None:
        caller = Caller(subject)
        rows = await rows_with(caller, character)
        for where in questions(character):
            await check(caller, rows, where)

    await asyncio.gather(*map(one, pack))


@pytest.mark.parametrize("pack", PACKS, ids=map(named, PACKS))
async def test_every_character_in_searches(subject: Subject, pack: str) -> None:
    async def one(character: str) -> None:
        caller = Caller(subject)
        rows = await rows_with(caller, character)
        for text in (*forms(character), fold(character), f"%{character}", f"_{character}"):
            await check(caller, rows, None, search=text)
            await check(caller, rows, Condition("body_text", "contains", character), search=text)

    await asyncio.gather(*map(one, pack))


texts = st.text(
    st.characters(exclude_categories=["Cs"]).filter(lambda c: c >= " " or c in "\t\n\r") | st.sampled_from(ASCII),
    max_size=12,
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[Filter], list[str]]:
    """Rows, filters whose values are parts of what is in them, and searches."""
    known = draw(st.lists(texts, min_size=1, max_size=6))
    parts = st.sampled_from(known).flatmap(
        lambda text: st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(
            lambda ends: text[min(ends) : max(ends)]
        )
    )
    some = parts | texts | st.sampled_from(known)
    rows = [
        {
            "label": "x",
            "body_text": draw(st.none() | st.sampled_from(known)),
            "marks": tuple(draw(st.lists(st.sampled_from([text for text in known if text] or ["-"]), max_size=3))),
        }
        for _ in range(draw(st.integers(1, 8)))
    ]
    plain = st.builds(
        Condition,
        st.just("body_text"),
        st.sampled_from(["eq", "ne", "lt", "lte", "gt", "gte", "contains", "startswith"]),
        some,
    )
    several = st.builds(
        Condition, st.just("body_text"), st.sampled_from(["in", "nin"]), st.lists(some, max_size=4).map(tuple)
    )
    between = st.builds(Condition, st.just("body_text"), st.just("between"), st.tuples(some, some))
    marked = st.builds(Condition, st.just("marks"), st.just("contains"), some)
    filters = st.recursive(
        plain | several | between | marked,
        lambda inner: st.builds(Group, st.sampled_from(["and", "or"]), st.lists(inner, max_size=3).map(tuple)),
        max_leaves=6,
    )
    return rows, draw(st.lists(filters, min_size=1, max_size=5)), draw(st.lists(some, max_size=2))


@settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(case=cases())
async def test_any_text_is_literal(
    subject: Subject, way: str, case: tuple[list[dict[str, Any]], list[Filter], list[str]]
) -> None:
    values, filters, searches = case
    caller = Caller(subject)
    rows = list(await caller.add_all(SAMPLES, *values))
    for where in filters:
        await check(caller, rows, where)
    for text in searches:
        await check(caller, rows, filters[0], search=text)
    assert {row.id for row in await caller.get(SAMPLES, *(row.id for row in rows))} == {row.id for row in rows}
