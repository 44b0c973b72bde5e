"""Rows written through Interlock are read by plain supabase-py with the same values, and the reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from postgrest import APIError, AsyncPostgrestClient
from tests.supabase.writes.conftest import Tokens

from interlock.contract import Point
from interlock.entities import AUDIT
from interlock.entity import unchanged
from interlock.identifiers import is_id, new_id
from interlock.testing.harness import Caller, where
from interlock.testing.samples import SAMPLES, Detail, Sample

pytestmark = pytest.mark.anyio

TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), max_codepoint=0x10FFFF), min_size=1, max_size=40
) | st.sampled_from(["a,b(c)", '"quoted"\\', "%_*", "‮אב", "👩‍👩‍👧", "e\u0301", "\ufeff", "null", "{}", "'; --", "\n\t"])
MONEY = st.decimals(min_value=-(10**12) + 1, max_value=10**12 - 1, places=4).map(
    lambda amount: amount.normalize() if amount.normalize().as_tuple().exponent <= 0 else amount.quantize(Decimal(1))  # type: ignore[operator]  # finite
)
TIME = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
VALUES = st.fixed_dictionaries(
    {"label": TEXT},
    optional={
        "body_text": TEXT | st.none(),
        "rank": st.integers(-(2**53) + 1, 2**53 - 1) | st.none(),
        "ratio": st.floats(allow_nan=False, allow_infinity=False) | st.none(),
        "amount": MONEY | st.none(),
        "weight": MONEY | st.none(),
        "active": st.booleans() | st.none(),
        "day": st.dates(date(1, 1, 1), date(9999, 12, 31)) | st.none(),
        "happened_at": TIME | st.none(),
        "marks": st.lists(TEXT, max_size=4).map(tuple),
        "place": st.builds(Point, st.floats(-90, 90), st.floats(-180, 180)) | st.none(),
        "detail": st.builds(Detail, TEXT, st.lists(st.integers(-(2**31), 2**31), max_size=3).map(tuple)) | st.none(),
        "grade": st.sampled_from(["low", "mid", "high"]) | st.none(),
    },
)
EACH = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def plain(stack: Any, tokens: Tokens, caller: Caller) -> AsyncIterator[AsyncPostgrestClient]:
    """The official client of the same user, who knows nothing of Interlock."""
    headers = {"apikey": stack.anon_key, "Authorization": f"Bearer {await tokens.token(caller.identity)}"}
    async with AsyncPostgrestClient(f"{stack.url}/rest/v1", headers=headers) as client:
        yield client


def rows_of(answer: Any) -> list[dict[str, Any]]:
    """The rows of the official client's answer, which it types as any JSON."""
    rows: list[dict[str, Any]] = answer.data
    return rows


def sent(values: dict[str, Any]) -> dict[str, Any]:
    """Values as somebody writes them with the official client."""
    return {name: _sent(value) for name, value in values.items()}


def _sent(value: Any) -> Any:
    match value:
        case Point():
            return f"SRID=4326;POINT({value.lon!r} {value.lat!r})"
        case Detail():
            return {"note": value.note, "sizes": list(value.sizes)}
        case Decimal():
            return format(value, "f")
        case date():  # and datetime
            return value.isoformat()
        case tuple():
            return list(value)
    return value


def same(row: dict[str, Any], record: Sample) -> None:
    """What the official client reads is what Interlock reads."""
    for name in ("id", "tenant_id", "label", "body_text", "rank", "ratio", "active", "grade", "version", "number"):
        assert row[name] == getattr(record, name), name
    for name in ("created_at", "updated_at", "happened_at"):
        assert (None if row[name] is None else datetime.fromisoformat(row[name])) == getattr(record, name), name
    for name in ("amount", "weight"):
        found, value = row[name], getattr(record, name)
        assert (found is None) is (value is None)
        assert value is None or Decimal(found) == value, name
    assert row["day"] == (None if record.day is None else record.day.isoformat())
    assert row["marks"] == list(record.marks)
    assert row["detail"] == (None if record.detail is None else _sent(record.detail))
    place = row["place_point"]
    assert (None if place is None else (place["lat"], place["lon"])) == (
        None if record.place is None else (record.place.lat, record.place.lon)
    )


# An amount as text, because the client's JSON would make a float of it.
COLUMNS = "*, amount::text, weight::text, place_point"


@EACH
@given(values=VALUES)
async def test_written_by_interlock_read_by_the_official_client(
    caller: Caller, plain: AsyncPostgrestClient, values: dict[str, Any]
) -> None:
    record = await caller.add(SAMPLES, **values)
    expected = values["place"] if values.get("place") is not None else None
    assert record.place == expected
    (row,) = rows_of(await plain.from_("samples").select(COLUMNS).eq("id", record.id).execute())
    same(row, record)


@EACH
@given(values=VALUES, patch=VALUES)
async def test_written_by_the_official_client_read_by_interlock(
    caller: Caller, plain: AsyncPostgrestClient, values: dict[str, Any], patch: dict[str, Any]
) -> None:
    (made,) = rows_of(await plain.from_("samples").insert(sent(values)).execute())
    record = await caller.one(SAMPLES, made["id"])
    assert is_id(record.id)
    assert {name: getattr(record, name) for name in values} == values
    assert (record.created_by, record.version) == (caller.identity.user_id, 1)
    await plain.from_("samples").update(sent(patch)).eq("id", record.id).execute()
    changed = await caller.one(SAMPLES, record.id)
    assert {name: getattr(changed, name) for name in patch} == patch
    (row,) = rows_of(await plain.from_("samples").select(COLUMNS).eq("id", record.id).execute())
    same(row, changed)
    assert changed.version == (1 if unchanged(record, patch) else 2)


async def test_amounts_are_kept_in_their_shortest_form(caller: Caller, plain: AsyncPostgrestClient) -> None:
    (made,) = rows_of(await plain.from_("samples").insert({"label": "x", "amount": "1.5000", "weight": 100}).execute())
    record = await caller.one(SAMPLES, made["id"])
    assert (str(record.amount), str(record.weight)) == ("1.5", "100")


async def test_a_time_in_another_zone_is_the_same_moment(caller: Caller, plain: AsyncPostgrestClient) -> None:
    at = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    (made,) = rows_of(await plain.from_("samples").insert({"label": "x", "happened_at": at.isoformat()}).execute())
    assert (await caller.one(SAMPLES, made["id"])).happened_at == at


async def test_both_write_beside_one_another(caller: Caller, plain: AsyncPostgrestClient) -> None:
    record = await caller.add(SAMPLES, label="x", code="1")
    with pytest.raises(APIError) as found:
        await plain.from_("samples").insert({"label": "y", "code": "1"}).execute()
    assert found.value.code == "23505"
    (other,) = rows_of(await plain.from_("samples").insert({"label": "y", "code": "2"}).execute())
    assert other["number"] == record.number + 1
    (outcome,) = await caller.create(SAMPLES, [{"label": "z", "code": "2"}])
    assert getattr(outcome.error, "existing_id", None) == other["id"]
    await plain.from_("samples").update({"rank": 5}).eq("id", record.id).execute()
    (outcome,) = await caller.update(SAMPLES, record.id, {"rank": 6}, expected_version=1)
    assert getattr(outcome.error, "current", None) == await caller.one(SAMPLES, record.id)
    await plain.from_("samples").update({"deleted_at": "now"}).eq("id", record.id).execute()
    assert await caller.get(SAMPLES, record.id) == ()
    trail = (await caller.find(AUDIT, where("record_id", "eq", record.id))).rows
    assert sorted(entry.action for entry in trail) == ["create", "delete", "update"]
    assert {entry.actor for entry in trail} == {caller.identity.user_id}


async def test_a_bulk_write_of_the_official_client(caller: Caller, plain: AsyncPostgrestClient) -> None:
    rows = [{"id": new_id(), "label": f"{n}", "marks": [f"{n}"]} for n in range(500)]
    await plain.from_("samples").insert(rows).execute()
    found = await caller.get(SAMPLES, *(str(row["id"]) for row in rows))
    assert [(row.label, row.number) for row in found] == [(f"{n}", n + 1) for n in range(500)]
