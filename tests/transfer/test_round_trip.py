"""What is exported is imported again as it was, in each format."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.transfer.conftest import Caller

from interlock.backends.memory import MemoryBackend
from interlock.contract import Point
from interlock.entities import CUSTOMERS
from interlock.entities.customer import Customer
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.services.base import EntityService
from interlock.services.transfer import Format, Limits, Progress, export_rows, import_rows
from interlock.services.transfer.cells import shield, unshield
from interlock.services.transfer.xlsx_format import XlsxReader
from interlock.testing.samples import SAMPLES, Detail, Sample

pytestmark = [pytest.mark.anyio, pytest.mark.clock]

FORMATS: tuple[Format, ...] = ("csv", "json", "ndjson", "xlsx")
OWNED = {"created_at", "updated_at", "created_by", "updated_by", "tenant_id", "version", "number", "deleted_at"}

awkward = st.sampled_from(
    [
        "=1+1",
        "+49 30",
        "-1",
        "@x",
        "'=x",
        "''-",
        "'",
        "\ttab",
        "\rcr",
        "a\r\nb",
        '"q"',
        "a;b",
        "a,b",
        "_x000D_",
        "_x005F_",
        "null",
        "true",
        " x ",
    ]
)
texts = st.one_of(awkward, st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
texts = texts.map(lambda text: text[:40])
decimals = st.decimals(min_value=-(10**11), max_value=10**11, places=4, allow_nan=False, allow_infinity=False)
floats = st.floats(allow_nan=False, allow_infinity=False)
degrees = st.builds(Point, st.floats(-90, 90), st.floats(-180, 180))
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda at: at.replace(tzinfo=UTC))
samples: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    label=texts,
    body_text=st.none() | texts,
    grade=st.sampled_from([None, "low", "mid", "high"]),
    rank=st.none() | st.integers(-(2**53) + 1, 2**53 - 1),
    ratio=st.none() | floats,
    amount=st.none() | decimals,
    active=st.none() | st.booleans(),
    day=st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
    happened_at=st.none() | times,
    marks=st.lists(texts, max_size=3).map(tuple),
    place=st.none() | degrees,
    detail=st.none() | st.builds(Detail, texts, st.lists(st.integers(0, 9), max_size=3).map(tuple)),
)


def service_of(entity: Entity[Any], tenant: str = "acme") -> EntityService[Any]:
    return EntityService(entity, Caller(MemoryBackend((entity,)), {entity.resource: entity}, tenant))


async def exported(service: EntityService[Any], format: Format, **options: Any) -> bytes:
    return b"".join([step async for step in export_rows(service, format, **options)])


def content(row: Sample) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SAMPLES.fields if name not in OWNED}


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(samples, min_size=1, max_size=5))
def test_every_row_comes_back_as_it_was(format: Format, rows: list[dict[str, Any]]) -> None:
    async def both_ways() -> None:
        there, back = service_of(SAMPLES), service_of(SAMPLES)
        outcomes = await there.bulk_create(rows)
        assert all(outcome.ok for outcome in outcomes)
        file = await exported(there, format, sort="id", page=2)
        report = await import_rows(back, file)
        assert (report.created, report.failed) == (len(rows), 0), report.failures
        expected = [content(row) async for row in there.iterate(sort="id")]
        assert [content(row) async for row in back.iterate(sort="id")] == expected
        again = await import_rows(back, file)
        assert (again.created, again.skipped) == (0, len(rows))

    asyncio.run(both_ways())


@given(st.text())
def test_a_shield_is_taken_off_again(text: str) -> None:
    assert unshield(shield(text)) == text
    assert shield(text)[:1] not in tuple("=+-@\t\r\n")


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\N{FULLWIDTH EQUALS SIGN}1"]
)
async def test_no_cell_starts_a_formula(customers: EntityService[Customer], text: str) -> None:
    await customers.create(company_name=text)
    (row,) = csv.DictReader(io.StringIO((await exported(customers, "csv")).decode("utf-8-sig"), newline=""))
    assert row["company_name"] == f"'{text}"
    sheet = openpyxl.load_workbook(io.BytesIO(await exported(customers, "xlsx", columns=["company_name"]))).active
    assert sheet is not None
    assert sheet["A2"].data_type == "s"
    assert str(sheet["A2"].value).startswith("'")


@pytest.mark.parametrize("format", FORMATS)
async def test_columns_and_rows_are_chosen(customers: EntityService[Customer], format: Format) -> None:
    await customers.create(company_name="A", status="active", city="X")
    await customers.create(company_name="B", status="lead")
    file = await exported(customers, format, columns=["city", "company_name"], status="active")
    if format == "csv":
        assert file.decode("utf-8-sig") == "city,company_name\r\nX,A\r\n"
    elif format == "xlsx":
        reader = XlsxReader(io.BytesIO(file), Limits())
        assert [raw.cells for raw in reader] == [{"city": "X", "company_name": "A"}]
        reader.close()
    else:
        found = msgspec.json.decode(file)
        assert (found[0] if format == "json" else found) == {"city": "X", "companyName": "A"}


@pytest.mark.parametrize("format", FORMATS)
async def test_nothing_is_exported_well(customers: EntityService[Customer], format: Format) -> None:
    file = await exported(customers, format)
    if format == "json":
        assert msgspec.json.decode(file) == []
    elif format == "ndjson":
        assert file == b""
    else:
        assert (await import_rows(customers, file)).rows == 0


async def test_export_refuses_what_is_not_there(customers: EntityService[Customer]) -> None:
    with pytest.raises(Invalid, match="did you mean 'city'"):
        await exported(customers, "csv", columns=["cty"])
    with pytest.raises(Invalid, match="not one of"):
        await exported(customers, "pdf")  # type: ignore[arg-type]  # what a caller may type
    with pytest.raises(Invalid, match="none twice"):
        await exported(customers, "csv", columns=["city", "city"])


async def test_export_reads_every_page_and_tells_progress(customers: EntityService[Customer]) -> None:
    await customers.bulk_create([{"company_name": f"c{n}"} for n in range(25)])
    seen: list[Progress] = []
    file = await exported(customers, "ndjson", page=10, progress=seen.append)
    assert len(file.splitlines()) == 25
    assert [p.rows for p in seen] == [10, 20, 25]


async def test_money_is_a_number_in_a_sheet_where_it_fits(call: Callable[..., EntityService[Any]]) -> None:
    service = call(SAMPLES)
    await service.create(label="A", amount=Decimal("12.5"), rank=3, day=date(2026, 1, 31))
    await service.create(label="B", amount=Decimal("99999999999.1234"), rank=2**53 - 1)
    book = openpyxl.load_workbook(
        io.BytesIO(await exported(service, "xlsx", columns=["amount", "rank", "day"], sort="label"))
    )
    assert book.active is not None
    (_, first, _) = book.active.iter_rows(values_only=True)
    assert first == (12.5, 3, datetime(2026, 1, 31))


async def test_a_customer_export_moves_to_another_tenant(call: Callable[..., EntityService[Customer]]) -> None:
    ours, theirs = call(CUSTOMERS, "acme"), call(CUSTOMERS, "globex")
    made = await ours.create(company_name="A", location=Point(-33.8, 151.2), tags=("b; c", "d"))
    report = await import_rows(theirs, await exported(ours, "csv"))
    assert (report.created, report.ignored["version"]) == (1, "is set by the service")
    found = await theirs.get(made.id)
    assert (found.location, found.tags, found.tenant_id) == (made.location, made.tags, "globex")
