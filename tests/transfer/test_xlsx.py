"""XLSX files as people make them, and as attackers do."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import openpyxl
import pytest

from interlock.entities.customer import Customer
from interlock.errors import Invalid
from interlock.services.base import EntityService
from interlock.services.transfer import Limits, import_rows

pytestmark = pytest.mark.anyio

Service = EntityService[Customer]


def book(*rows: tuple[Any, ...], title: str = "Sheet") -> bytes:
    made = openpyxl.Workbook()
    assert made.active is not None
    made.active.title = title
    for row in rows:
        made.active.append(row)
    file = io.BytesIO()
    made.save(file)
    return file.getvalue()


def with_part(content: bytes, name: str, part: bytes) -> bytes:
    """The archive with one part replaced or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for held in old.infolist():
            if held.filename != name:
                new.writestr(held.filename, old.read(held))
        new.writestr(name, part)
    return file.getvalue()


@pytest.mark.clock
async def test_cells_of_all_types_are_read(customers: Service) -> None:
    content = book(
        ("Company", "Phone", "Notes", "City", None),
        ("A", 301234567, datetime(2026, 1, 31), "=1+1", None),
        (None, None, None, None, None),
        ("B", 1.5, True, "_x0041_", None),
    )
    report = await import_rows(customers, content)
    assert (report.format, report.created, report.failed) == ("xlsx", 2, 0)
    found = {row.company_name: row async for row in customers.iterate()}
    assert (found["A"].phone, found["A"].notes, found["A"].city) == ("301234567", "2026-01-31", None)
    assert (found["B"].phone, found["B"].notes) == ("1.5", "true")


async def test_bad_rows_have_the_numbers_that_the_sheet_shows(customers: Service) -> None:
    report = await import_rows(
        customers, book(("company", "email"), ("A", "a@x.test"), (None, None), ("B", "bad"), ("C", "", "more"))
    )
    assert [(f.line, f.field) for f in report.failures] == [(4, "email"), (5, "row")]
    assert report.created == 1


async def test_a_sheet_is_chosen_by_name(customers: Service) -> None:
    content = book(("company",), ("A",), title="Kunden")
    assert (await import_rows(customers, content, sheet="Kunden", dry_run=True)).created == 1
    with pytest.raises(Invalid, match="Kunden"):
        await import_rows(customers, content, sheet="Customers")


async def test_a_zip_bomb_is_refused_before_it_is_unpacked(customers: Service) -> None:
    bomb = with_part(book(("company",)), "xl/worksheets/sheet1.xml", b"<worksheet>" + b" " * 40_000_000)
    with pytest.raises(Invalid, match="zip bomb"):
        await import_rows(customers, bomb)
    big = with_part(book(("company",)), "xl/sharedStrings.xml", b"<sst>" + b" " * 10_000_000)
    with pytest.raises(Invalid, match="use CSV"):
        await import_rows(customers, big, limits=Limits(part=1_000_000))
    with pytest.raises(Invalid, match="over the limit"):
        await import_rows(customers, big, limits=Limits(expanded=1_000_000))


async def test_entities_are_refused(customers: Service) -> None:
    kinds = b'<!DOCTYPE x [<!ENTITY a "b">]><Types>&a;</Types>'
    with pytest.raises(Invalid, match="document type"):
        await import_rows(customers, with_part(book(("company",)), "[Content_Types].xml", kinds))


async def test_entities_in_a_sheet_stay_small(customers: Service) -> None:
    lol = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    sheet = (
        f'<!DOCTYPE worksheet [<!ENTITY l0 "lol">{lol}]><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
        '<sheetData><row r="1"><c r="A1" t="inlineStr"><is><t>&l9;</t></is></c></row></sheetData></worksheet>'
    )
    with pytest.raises(Invalid, match="sound XLSX"):
        await import_rows(customers, with_part(book(("company",)), "xl/worksheets/sheet1.xml", sheet.encode()))


SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)
HEAD = '<row r="1"><c r="A1" t="inlineStr"><is><t>company</t></is></c></row>'


@pytest.mark.parametrize(
    "rows",
    [
        HEAD + '<row r="2"><c r="A2" t="s"><v>99</v></c></row>',
        HEAD + '<row r="2"><c r="A2" t="n"><v>many</v></c></row>',
        HEAD + '<row r="2"><c r="??"><v>1</v></c></row>',
        HEAD + '<row r="two"><c><v>1</v></c></row>',
    ],
)
async def test_a_broken_sheet_ends_the_reading_with_its_reason(customers: Service, rows: str) -> None:
    content = with_part(book(("company",)), "xl/worksheets/sheet1.xml", SHEET.format(rows).encode())
    report = await import_rows(customers, content)
    assert (report.created, report.complete) == (0, False)


async def test_a_row_far_below_is_not_reached_for(customers: Service) -> None:
    rows = HEAD + '<row r="999999999999"><c r="A999999999999"><v>1</v></c></row>'
    content = with_part(book(("company",)), "xl/worksheets/sheet1.xml", SHEET.format(rows).encode())
    assert (await import_rows(customers, content)).created == 0


@pytest.mark.parametrize(
    "part", ["[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/_rels/workbook.xml.rels"]
)
@pytest.mark.parametrize(
    "content", [b"", b"<", b"\0\0\0", b"<a/>", b"not xml", b'<worksheet><sheetData><row r="2"><c r="A2"']
)
async def test_broken_parts_are_invalid(customers: Service, part: str, content: bytes) -> None:
    broken = with_part(book(("company",), ("A",)), part, content)
    with contextlib.suppress(Invalid):  # or nothing found in it
        assert (await import_rows(customers, broken)).created == 0


async def test_cut_archives_are_invalid(customers: Service) -> None:
    whole = book(("company",), ("A",))
    for cut in range(10, len(whole), len(whole) // 20):
        with pytest.raises(Invalid):
            await import_rows(customers, whole[:cut])


async def test_a_streamed_sheet_is_read(customers: Service) -> None:
    content = book(("company",), *((f"c{n}",) for n in range(50)))

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]

    report = await import_rows(customers, chunks())
    assert (report.format, report.created) == ("xlsx", 50)
