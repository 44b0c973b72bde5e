"""The database folds as Python does: search and folded unique values mean the same on every backend."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.supabase.schema.database import Database

from interlock.entity import fold
from interlock.identifiers import is_id
from interlock.testing.conformance.texts import SPECIAL, UNICODE
from interlock.testing.harness import new_identity
from interlock.testing.samples import SAMPLES, Sample

pytestmark = pytest.mark.anyio

LOWER = 'select lower(c collate "und-x-icu") from unnest($1::text[]) with ordinality as t(c, n) order by n'


async def folded(database: Database, texts: list[str]) -> list[str]:
    return [row[0] for row in await database.rows(LOWER, texts)]


async def test_every_code_point_folds_as_python_folds_it(database: Database) -> None:
    points = [chr(n) for n in range(1, sys.maxunicode + 1) if not 0xD800 <= n <= 0xDFFF]
    differ = [c for c, found in zip(points, await folded(database, points), strict=True) if found != fold(c)]
    # The two may know different versions of Unicode: a letter that one of them has not heard of is no gap.
    unknown = {c for c in differ if unicodedata.category(c) == "Cn"}
    assert not set(differ) - unknown


@pytest.mark.parametrize(
    "text",
    [*SPECIAL.values(), *(t for pair in UNICODE.values() for t in pair), "ΟΔΟΣ", "ΣΑΣ ΣΑΣ.", "Σ", "İI", "ΑΣ\x1fΣ"],
)
async def test_words_fold_as_python_folds_them(database: Database, text: str) -> None:
    assert await folded(database, [text, text.upper()]) == [fold(text), fold(text.upper())]


async def test_any_text_folds_as_python_folds_it(database: Database) -> None:
    texts: list[str] = []
    known = st.characters(blacklist_categories=("Cs", "Cn"), blacklist_characters="\x00")
    greek = st.sampled_from("ΣσςΑα'.\u0301\u00ad \x1f1İI")

    @settings(max_examples=2000, database=None, suppress_health_check=list(HealthCheck))
    @given(st.text(known | greek, max_size=12))
    def draw(text: str) -> None:
        texts.append(text)

    draw()
    found = await folded(database, texts)
    differ = [(text, got) for text, got in zip(texts, found, strict=True) if got != fold(text)]
    assert not differ


async def test_the_searched_text_is_the_entitys(database: Database) -> None:
    """But for separators that stand for empty fields, which no needle can hold."""
    who = new_identity()
    for label, body in (("Größe", None), ("A\tB", "ΟΔΟΣ"), ("x", "")):
        async with database.as_(who) as connection:
            found = await connection.fetchval(
                "insert into public.samples (label, body_text) values ($1, $2) returning search_text", label, body
            )
        assert found.strip("\x1f") == SAMPLES.search_text(Sample(label=label, body_text=body))


@pytest.mark.parametrize("needle", ["%", "_", "\\", "100% sure", "a_b", "ÖSS", "öss", "x\\%", "", "ΔΟΣ", "İ"])
async def test_search_takes_every_character_as_it_is(database: Database, needle: str) -> None:
    who = new_identity()
    labels = ["100% sure", "a_b", "Größe", "axb", "x\\%y", "ΟΔΟΣ", "İstanbul", "istanbul"]
    async with database.as_(who) as connection:
        await connection.execute("insert into public.samples (label) select unnest($1::text[])", labels)
        found = await connection.fetch("select label from public.samples_search($1)", needle)
    assert sorted(row["label"] for row in found) == sorted(label for label in labels if fold(needle) in fold(label))
    async with database.as_(new_identity()) as connection:
        assert not await connection.fetch("select from public.samples_search($1)", needle)


async def test_places_come_back_exactly_and_are_found_by_distance(database: Database) -> None:
    who = new_identity()
    places = {
        "berlin": (52.520008, 13.404954),
        "potsdam": (52.390569, 13.064473),
        "pole": (90.0, 0.0),
        "date line": (0.0, 180.0),
    }
    async with database.as_(who) as connection:
        for label, (lat, lon) in places.items():
            await connection.execute(
                "insert into public.samples (label, place) values ($1, $2::text::extensions.geography)",
                label,
                f"SRID=4326;POINT({lon!r} {lat!r})",
            )
        await connection.execute("insert into public.samples (label) values ('nowhere')")
        found = await connection.fetch(
            "select label, (place_point(s) ->> 'lat')::float8, (place_point(s) ->> 'lon')::float8 from public.samples s"
        )
        assert {row[0]: (row[1], row[2]) for row in found if row[1] is not None} == places
        near = "select label from public.samples_near($1, $2, $3)"
        assert [row[0] for row in await connection.fetch(near, 52.5, 13.4, 30.0)] == ["berlin", "potsdam"]
        assert [row[0] for row in await connection.fetch(near, 52.39, 13.06, 100.0)] == ["potsdam", "berlin"]
        assert [row[0] for row in await connection.fetch(near, 0.0, -179.999, 1.0)] == ["date line"]
        assert [row[0] for row in await connection.fetch(near, 90.0, 77.0, 0.001)] == ["pole"]
        assert len(await connection.fetch(near, 0.0, 0.0, 20_038.0)) == 4
    async with database.as_(new_identity()) as connection:
        assert not await connection.fetch(near, 52.5, 13.4, 20_038.0)


async def test_new_ids_are_uuid7s_of_now(database: Database) -> None:
    rows = await database.rows(
        "select app.new_id(), (extract(epoch from clock_timestamp()) * 1000)::bigint from generate_series(1, 1000)"
    )
    ids = [row[0] for row in rows]
    assert all(is_id(made) for made in ids)
    assert len(set(ids)) == len(ids)
    assert all(abs(int(row[0].replace("-", "")[:12], 16) - row[1]) < 1000 for row in rows)
