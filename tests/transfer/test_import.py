"""What an import takes, reports and refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.contract import Point
from interlock.entities import CUSTOMERS
from interlock.entities.customer import Customer
from interlock.errors import Invalid, OutcomeUnknown
from interlock.identifiers import is_id
from interlock.services.base import EntityService
from interlock.services.transfer import Progress, import_rows
from interlock.testing.samples import SAMPLES

pytestmark = pytest.mark.anyio

Service = EntityService[Customer]


async def everyone(service: EntityService[Any]) -> list[Any]:
    return [row async for row in service.iterate(sort="id")]


async def names(service: Service) -> set[str]:
    return {row.company_name for row in await everyone(service)}


async def test_the_sp500_is_imported_and_found_again(customers: Service, shared: Path) -> None:
    dry = await import_rows(customers, shared / "sp500.csv", dry_run=True)
    assert (dry.rows, dry.created, dry.failed) == (503, 503, 0)
    assert await everyone(customers) == []

    report = await import_rows(customers, shared / "sp500.csv")
    assert (report.rows, report.created, report.failed, report.complete) == (503, 503, 0, True)
    assert report.columns == {
        "Security": "company_name",
        "GICS Sector": "industry",
        "Headquarters Location": "address+city+country",
    }
    assert set(report.ignored) == {"Symbol", "GICS Sub-Industry", "Date added", "CIK", "Founded"}

    (mmm,) = (await customers.list(search="3m")).items
    assert (mmm.company_name, mmm.industry, mmm.city, mmm.country) == (
        "3M",
        "Industrials",
        "Saint Paul",
        "United States",
    )
    assert mmm.address == "Saint Paul, Minnesota"
    assert (await customers.list(country="Ireland", count="exact")).total == 11

    again = await import_rows(customers, shared / "sp500.csv")
    assert (again.created, again.skipped) == (0, 503)
    assert again.skips[0].line == 2
    assert len(await everyone(customers)) == 503


async def test_northwind_is_imported_and_found_again(customers: Service, shared: Path) -> None:
    report = await import_rows(customers, shared / "northwind_customers.csv")
    assert (report.rows, report.created, report.failed) == (91, 91, 0)
    assert {"contact_title", "fax", "region", "postal_code", "customer_id"} <= set(report.ignored)
    (found,) = (await customers.list(search="taquería")).items
    assert (found.contact_name, found.city, found.country) == ("Antonio Moreno", "México D.F.", "Mexico")
    assert (await customers.list(search="Luleå")).items[0].company_name == "Berglunds snabbköp"
    assert (await import_rows(customers, shared / "northwind_customers.csv")).skipped == 91


async def test_two_tenants_import_the_same_file(call: Callable[..., Service], shared: Path) -> None:
    for tenant in ("acme", "globex"):
        assert (await import_rows(call(CUSTOMERS, tenant), shared / "northwind_customers.csv")).created == 91


async def test_bad_rows_are_reported_and_good_ones_kept(customers: Service) -> None:
    text = (
        "Company,E-Mail,Status,Nonsense\n"
        "Good,good@x.test,active,1\n"
        ",nobody@x.test,active,2\n"
        'Bad,"not\nan address",sleeping,3\n'
        "Late,late@x.test,,4\n"
    )
    for dry_run in (True, False):
        report = await import_rows(customers, text.encode(), dry_run=dry_run)
        assert (report.rows, report.created, report.failed) == (4, 2, 2)
        assert [(f.line, f.field) for f in report.failures] == [(3, "company_name"), (4, "email"), (4, "status")]
        assert "choose one of" in report.failures[-1].reason
        assert report.failures[-1].value == "sleeping"
        assert report.ignored == {"Nonsense": "no field has this name"}
    assert await names(customers) == {"Good", "Late"}


async def test_an_email_that_is_taken_is_skipped(customers: Service) -> None:
    held = await customers.create(company_name="Held", email="Me@x.test")
    report = await import_rows(customers, b"company,email\nOther,Me@x.test\nThird,third@x.test\nTwin,THIRD@x.test\n")
    assert (report.created, report.skipped) == (1, 2)
    assert (report.skips[0].line, report.skips[0].existing_id) == (2, held.id)


async def test_a_dry_run_finds_doubles_within_the_file(customers: Service) -> None:
    text = b"company,city,email\nA,X,\na , x,\nB,X,b@x.test\nC,X,B@x.test\n"
    dry = await import_rows(customers, text, dry_run=True)
    real = await import_rows(customers, text)
    assert (dry.created, dry.skipped) == (real.created, real.skipped) == (2, 2)
    assert [skip.line for skip in dry.skips] == [skip.line for skip in real.skips] == [3, 5]


async def test_ids_follow_from_the_rows_and_are_uuid7(call: Callable[..., Service]) -> None:
    for tenant in ("acme", "globex"):
        await import_rows(call(CUSTOMERS, tenant), b"company\nA\nB\n")
    ours = {row.id for row in await everyone(call(CUSTOMERS, "acme"))}
    theirs = {row.id for row in await everyone(call(CUSTOMERS, "globex"))}
    assert all(is_id(text) for text in ours | theirs)
    assert not ours & theirs


async def test_a_mapping_overrides_the_guess(customers: Service) -> None:
    text = b"Security,Name,Phone\nAcme,Wile E.,1\n"
    report = await import_rows(customers, text, mapping={"Security": "notes", "Phone": None})
    assert report.columns == {"Security": "notes", "Name": "company_name"}
    assert report.ignored == {"Phone": "left out by the mapping"}
    assert (await everyone(customers))[0].notes == "Acme"


@pytest.mark.parametrize(
    ("mapping", "field", "mend"),
    [
        ({"Company": "compny_name"}, "mapping.Company", "did you mean 'company_name'"),
        ({"Compny": "company_name"}, "mapping.Compny", "did you mean 'Company'"),
        ({"Company": "city", "Town": "city"}, "mapping.Town", "twice"),
        ({"Company": "tenant_id"}, "mapping.Company", "not a writable field"),
    ],
)
async def test_a_wrong_mapping_is_told_with_its_mend(customers: Service, mapping: Any, field: str, mend: str) -> None:
    with pytest.raises(Invalid) as caught:
        await import_rows(customers, b"Company,Town\nA,B\n", mapping=mapping)
    assert mend in caught.value.fields[field]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_delimiters_are_found_out(customers: Service, delimiter: str) -> None:
    text = f'"Company, Inc"{delimiter}Company{delimiter}City\nx{delimiter}A{delimiter}"B{delimiter}C"\n'
    await import_rows(customers, text.encode())
    assert (await everyone(customers))[0].city == f"B{delimiter}C"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
async def test_encodings_with_a_mark_and_utf8_are_read(customers: Service, encoding: str) -> None:
    await import_rows(customers, "company\nMüller & Søn — Łódź\n".encode(encoding))
    assert await names(customers) == {"Müller & Søn — Łódź"}


async def test_cp1252_is_read_when_asked_for(customers: Service) -> None:
    text = "company\nFirst\nMüller € Søn\n".encode("cp1252")
    with pytest.raises(Invalid) as caught:
        await import_rows(customers, text)
    assert "cp1252" in caught.value.fields["encoding"]
    assert "at byte 15" in caught.value.fields["encoding"]
    assert await everyone(customers) == []
    await import_rows(customers, text, encoding="cp1252")
    assert await names(customers) == {"First", "Müller € Søn"}


@pytest.mark.parametrize(
    ("content", "options", "field"),
    [
        (b"", {}, "file"),
        (b"company\nA\n", {"encoding": "klingon"}, "encoding"),
        (b"company\nA\n", {"encoding": "hex"}, "encoding"),
        ("company\nA\n".encode("utf-16-le"), {}, "encoding"),
        (b"company\nA\n", {"delimiter": "ab"}, "delimiter"),
        (b"company,city,company\nA,B,C\n", {}, "columns"),
        (b",,\nA,B,C\n", {}, "columns"),
        (b"what,is,this\nA,B,C\n", {}, "columns"),
        (",".join(f"c{n}" for n in range(501)).encode(), {}, "columns"),
        (b"PK\x03\x04 not really", {}, "file"),
        (b"PK\x03\x04 not really", {"format": "csv"}, "file"),
        (b"company\nA\n", {"format": "xlsx"}, "file"),
        (b'"company\n', {}, "columns"),
    ],
)
async def test_a_file_that_cannot_be_read_is_invalid(
    customers: Service, content: bytes, options: Any, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await import_rows(customers, content, **options)
    assert field in caught.value.fields
    assert await everyone(customers) == []


async def test_a_missing_file_is_invalid(customers: Service, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="No such file"):
        await import_rows(customers, tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (b"A\0B,x", "company_name", "U+0000"),
        (b"A,b,c", "row", "has 3 cells where the header has 2"),
        (b'A,"open', "row", "never closed"),
        (b'"A"x,b', "row", "quote"),
        (b"A," + b"x" * 140_000, "row", "131072"),
        (b"A," + b"x" * 1_200_000, "row", ""),
        (b"A," + b"x" * 300, "city", "length"),
    ],
)
async def test_a_broken_line_fails_alone(customers: Service, row: bytes, field: str, reason: str) -> None:
    text = b"company,city\nBefore,x\n" + row + b"\n"
    if b"open" not in row:
        text += b"After,x\n"
    report = await import_rows(customers, text)
    assert [(f.line, f.field) for f in report.failures] == [(3, field)]
    assert reason in report.failures[0].reason
    assert report.created == (1 if b"open" in row else 2)


async def test_at_most_a_thousand_failures_are_listed_and_all_counted(customers: Service) -> None:
    report = await import_rows(customers, b"company,city\n" + b",x\n" * 1500)
    assert (report.failed, len(report.failures)) == (1500, 1000)


async def test_json_arrays_and_lines(customers: Service) -> None:
    rows = [
        {"companyName": "A", "location": {"lat": 1.5, "lon": 2}, "tags": ["x", "y"], "phone": 123, "unknown": 1},
        {"companyName": "B", "contactName": None},
        {"companyName": 7},
        ["no record"],
        {"companyName": "C", "country": "\u00e9"},
    ]
    array = msgspec.json.encode(rows)
    dry = await import_rows(customers, array, dry_run=True)
    assert (dry.format, dry.rows, dry.created, dry.failed) == ("json", 5, 4, 1)
    lines = b"\n".join(map(msgspec.json.encode, rows)) + b"\n{broken\n"
    report = await import_rows(customers, lines)
    assert (report.format, report.created, report.failed) == ("ndjson", 4, 2)
    assert [f.line for f in report.failures] == [4, 6]
    assert report.ignored == {"unknown": "no field has this name"}
    (first,) = (await customers.list(company_name="A")).items
    assert (first.location, first.tags, first.phone) == (Point(1.5, 2.0), ("x", "y"), "123")


async def test_an_array_that_breaks_off_keeps_what_came_before(customers: Service) -> None:
    report = await import_rows(customers, b'[{"companyName": "A"}, {"companyName": "B"}, {"comp')
    assert (report.created, report.failed, report.complete) == (2, 1, False)
    assert report.failures[-1].reason.endswith("nothing after it was read")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"companyName": ' + b"[" * 100_000,
        b'["\\ud800',
        b"[1e999999999]",
        b"[" + b"{" * 100_000 + b"}" * 100_000 + b"]",
    ],
)
async def test_hostile_json_is_reported(customers: Service, content: bytes) -> None:
    report = await import_rows(customers, content)
    assert (report.created, report.failed) == (0, 1)


@pytest.mark.parametrize(
    ("content", "created", "failed"),
    [
        (b"[]", 0, 0),
        (b" [ ] ", 0, 0),
        (b'\xef\xbb\xbf[{"companyName": "a]},{\\"\\\\"}]', 1, 0),
        (b'[{"companyName": "a"},]', 1, 1),
        (b'[{"companyName": "a"} {"companyName": "b"}]', 0, 1),
        (b'[{"companyName": "a"]', 0, 1),
        (b'[{"companyName": "a"}] trailing', 1, 1),
        (b'[{"companyName": nope}, {"companyName": "b"}]', 1, 1),
        (b'[{"companyName": "a", "notes": "' + b"x" * 5_000_000 + b'"}]', 0, 1),
    ],
)
async def test_arrays_are_taken_apart(customers: Service, content: bytes, created: int, failed: int) -> None:
    report = await import_rows(customers, content, format="json")
    assert (report.created, report.failed) == (created, failed)


async def test_a_long_array_is_read_across_its_steps(customers: Service) -> None:
    rows = [{"companyName": f'{n} "]}}{{[, \\ é', "notes": 'é\\"' * (n % 700)} for n in range(3000)]
    report = await import_rows(customers, msgspec.json.encode(rows))
    assert (report.created, report.failed, report.complete) == (3000, 0, True)
    assert {row.notes for row in await everyone(customers)} == {row["notes"] for row in rows}


async def test_lone_surrogates_in_json_are_refused(customers: Service) -> None:
    for content in (b'[{"companyName": "a\\ud800b"}]', b'{"companyName": "a\\ud800b"}'):
        assert (await import_rows(customers, content)).created == 0


async def test_a_stream_is_read(customers: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for byte in b"company\nA\nB\n":
            yield bytes([byte])

    assert (await import_rows(customers, chunks(), name="x.csv")).created == 2
    assert (await import_rows(customers, BytesIO(b"company\nC\n"))).created == 1


async def test_progress_ends_with_all(customers: Service) -> None:
    seen: list[Progress] = []
    text = b"company\n" + b"".join(b"c%d\n" % n for n in range(2500))
    await import_rows(customers, text, progress=seen.append)
    assert [p.rows for p in seen] == [1000, 2000, 2500]
    assert seen[-1].bytes_done == seen[-1].bytes_total == len(text)


async def test_a_column_of_foreign_ids_is_left_alone(customers: Service) -> None:
    report = await import_rows(customers, b"id,company\n1,A\n2,B\n")
    assert (report.created, report.ignored) == (2, {"id": "its values are not ids of this service"})


@pytest.mark.clock
async def test_every_kind_is_read_from_text(call: Callable[..., EntityService[Any]]) -> None:
    samples = call(SAMPLES)
    text = (
        "label,grade,rank,ratio,amount,active,day,marks,latitude,longitude,detail\n"
        'A,HIGH, 7 ,0.5,"12.50",Yes,2026-01-31,a; b,1.5,-2,"{""note"":""n"",""sizes"":[1]}"\n'
        "B,,x,y,z,maybe,tomorrow,,a,b,{\n"
    )
    profile_less = await import_rows(
        samples, text.encode(), mapping={"latitude": "place.lat", "longitude": "place.lon"}
    )
    assert profile_less.created == 1
    assert {f.field for f in profile_less.failures} == {"rank", "ratio", "amount", "active", "day", "place", "detail"}
    (row,) = await everyone(samples)
    assert (row.grade, row.rank, row.ratio, row.amount, row.active) == ("high", 7, 0.5, Decimal("12.50"), True)
    assert (row.day, row.marks, row.place, row.detail.sizes) == (date(2026, 1, 31), ("a", "b"), Point(1.5, -2.0), (1,))


async def test_references_are_checked_in_a_dry_run_too(customers: Service) -> None:
    text = b"company,assigned_to\nA,0190d2f1-0000-7000-8000-00000000dead\n"
    for dry_run in (True, False):
        report = await import_rows(customers, text, dry_run=dry_run)
        assert [(f.line, f.field) for f in report.failures] == [(2, "assigned_to")]


async def test_an_unknown_outcome_is_asked_for_again(customers: Service) -> None:
    class Breaking(EntityService[Customer]):
        broken = 0

        async def bulk_create(self, rows: Any, *, operation_id: str | None = None) -> Any:
            outcomes = await super().bulk_create(rows, operation_id=operation_id)
            if not self.broken:
                self.broken += 1
                raise OutcomeUnknown(operation_id or "")
            return outcomes

    report = await import_rows(Breaking(CUSTOMERS, customers.context), b"company\nA\nB\n")
    assert (report.created, report.skipped) == (2, 0)
    assert len(await everyone(customers)) == 2


async def test_a_run_taken_up_again_reports_what_it_wrote(customers: Service) -> None:
    first = await import_rows(customers, b"company\nA\nB\n", run_id="0190d2f1-0000-7000-8000-000000000009")
    second = await import_rows(customers, b"company\nA\nB\n", run_id="0190d2f1-0000-7000-8000-000000000009")
    assert first == second
    assert len(await everyone(customers)) == 2
