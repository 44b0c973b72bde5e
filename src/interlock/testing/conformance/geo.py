"""Records near a place: great circles on the sphere."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt
from typing import Final

import pytest

from interlock.contract import Near, Point
from interlock.entities import CUSTOMERS
from interlock.errors import Invalid
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Caller, order, where
from interlock.testing.samples import LEDGER, SAMPLES

__all__ = ["GeoSuite"]

RADIUS: Final = 6371.0088
PLACES: Final = {
    "Berlin": Point(52.52, 13.405),
    "Potsdam": Point(52.3906, 13.0645),
    "Hamburg": Point(53.5511, 9.9937),
    "Paris": Point(48.8566, 2.3522),
    "Suva": Point(-18.1248, 178.4501),
    "Apia": Point(-13.8507, -171.7514),
    "North": Point(90.0, 0.0),
    "South": Point(-90.0, 45.0),
    "Null": Point(0.0, 0.0),
    "Line": Point(0.0, 180.0),
}


def distance(one: Point, other: Point) -> float:
    """Kilometres along the great circle."""
    lat, lon = radians(other.lat - one.lat), radians(other.lon - one.lon)
    a = sin(lat / 2) ** 2 + cos(radians(one.lat)) * cos(radians(other.lat)) * sin(lon / 2) ** 2
    return 2 * RADIUS * asin(min(1.0, sqrt(a)))


class GeoSuite(Suite):
    """Within so many kilometres, the nearest first."""

    @pytest.mark.parametrize("centre", PLACES)
    @pytest.mark.parametrize("km", [50, 400, 5000, 20_000])
    async def test_near(self, caller: Caller, centre: str, km: int) -> None:
        await caller.add_all(
            SAMPLES, *({"label": name, "place": place} for name, place in PLACES.items()), {"label": "nowhere"}
        )
        here = PLACES[centre]
        wanted = sorted((distance(here, place), name) for name, place in PLACES.items() if distance(here, place) <= km)
        found = await caller.find(SAMPLES, near=Near(here.lat, here.lon, km), count="exact")
        assert found.total == len(wanted)
        assert [round(distance(here, row.place), 3) for row in found.rows] == [round(km, 3) for km, _ in wanted]
        assert {row.label for row in found.rows} == {name for _, name in wanted}
        assert found.next_cursor is None

    async def test_equal_distances_are_ordered_by_id(self, caller: Caller) -> None:
        rows = await caller.add_all(SAMPLES, *({"label": str(n), "place": Point(10.0, 20.0)} for n in range(6)))
        assert await caller.ids(SAMPLES, near=Near(10.5, 20.5, 500)) == sorted(row.id for row in rows)

    async def test_near_pages_by_offset(self, caller: Caller) -> None:
        await caller.add_all(SAMPLES, *({"label": str(n), "place": Point(0.0, n / 10)} for n in range(6)))
        near = Near(0.0, 0.0, 1000)
        assert await caller.labels(SAMPLES, near=near, limit=2) == ["0", "1"]
        assert await caller.labels(SAMPLES, near=near, limit=2, offset=4) == ["4", "5"]
        found = await caller.find(SAMPLES, near=near, limit=2, offset=2, count="exact")
        assert (found.total, found.next_cursor) == (6, None)

    async def test_near_and_filter_and_deleted_hold_together(self, caller: Caller) -> None:
        rows = await caller.add_all(
            SAMPLES, *({"label": str(n), "rank": n % 2, "place": Point(0.0, n / 10)} for n in range(6))
        )
        await caller.remove(rows[2], SAMPLES)
        even = where("rank", "eq", 0)
        assert await caller.labels(SAMPLES, even, near=Near(0.0, 0.0, 1000)) == ["0", "4"]
        assert await caller.labels(SAMPLES, even, near=Near(0.0, 0.0, 1000), deleted="only") == ["2"]

    async def test_a_place_may_move_and_vanish(self, caller: Caller) -> None:
        row = await caller.add(SAMPLES, label="x", place=PLACES["Berlin"])
        near = Near(52.5, 13.4, 20)
        assert await caller.ids(SAMPLES, near=near) == [row.id]
        row = await caller.change(row, SAMPLES, place=PLACES["Paris"])
        assert row.place == PLACES["Paris"]
        assert await caller.ids(SAMPLES, near=near) == []
        row = await caller.change(row, SAMPLES, place=None)
        assert await caller.ids(SAMPLES, near=Near(0.0, 0.0, 20_038)) == []

    async def test_customers_are_near(self, caller: Caller) -> None:
        berlin = await caller.add(CUSTOMERS, company_name="B", location=PLACES["Berlin"])
        await caller.add(CUSTOMERS, company_name="P", location=PLACES["Paris"])
        assert await caller.ids(CUSTOMERS, near=Near(52.39, 13.06, 40)) == [berlin.id]

    async def test_near_that_cannot_be_is_invalid(self, caller: Caller) -> None:
        for near in (Near(91, 0, 1), Near(0, 181, 1), Near(0, 0, -1), Near(0, 0, float("nan"))):
            with pytest.raises(Invalid):
                await caller.find(SAMPLES, near=near)
        with pytest.raises(Invalid):
            await caller.find(SAMPLES, near=Near(0, 0, 1), sort=order("label"))
        with pytest.raises(Invalid):
            await caller.find(LEDGER, near=Near(0, 0, 1))
