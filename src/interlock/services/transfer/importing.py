"""Import: a file's rows become records through the service, a thousand at a time, in memory that does not grow.

A file imported twice adds nothing: each row without an id of its own gets one that follows from what it is (see `keys`), so the second time
it is there already. Each run has an id, and each chunk's operation id follows from it: a run that broke off is taken up by giving its
`run_id` again, and writes no chunk twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, TypeVar

import anyio.to_thread
import msgspec

from interlock.contract import Outcome, Record
from interlock.errors import Duplicate, InterlockError, Invalid, OutcomeUnknown
from interlock.identifiers import new_id
from interlock.services.transfer.columns import Columns, Profile, profile_of
from interlock.services.transfer.csv_format import CsvReader
from interlock.services.transfer.json_format import ArrayReader, LinesReader
from interlock.services.transfer.keys import derived_id, row_keys
from interlock.services.transfer.report import Format, Limits, Progress, Report, Tally, Watcher
from interlock.services.transfer.source import Raw, Source, find_encoding, find_format, opened
from interlock.services.transfer.xlsx_format import XlsxReader
from interlock.validation import check_row

if TYPE_CHECKING:
    from interlock.services.base import EntityService

__all__ = ["CHUNK", "import_rows"]

R = TypeVar("R", bound=Record)

CHUNK: Final = 1000
"""Rows per call of the service."""

_ATTEMPTS = 3


class _Good(NamedTuple):
    line: int
    row: Any


class _Bad(NamedTuple):
    line: int
    problems: Mapping[str, str]
    values: Mapping[str, Any]


class _File(NamedTuple):
    """An opened file as rows, with the mapping that fits it."""

    format: Format
    reader: CsvReader | LinesReader | ArrayReader | XlsxReader
    columns: Columns

    @property
    def broken(self) -> str:
        return getattr(self.reader, "broken", "")

    def close(self) -> None:
        close = getattr(self.reader, "close", None)
        if close is not None:
            close()


async def import_rows(
    service: EntityService[R],
    source: Source,
    *,
    format: Format | None = None,
    mapping: Mapping[str, str | None] | None = None,
    dry_run: bool = False,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
    name: str = "",
    progress: Watcher | None = None,
    run_id: str | None = None,
    profile: Profile | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> Report:
    """Read records from a CSV, JSON, NDJSON or XLSX file and create those that are not there yet.

    `mapping` is column to field (None leaves the column out) and goes before what the headers suggest. `dry_run` writes nothing and
    reports the same. Bad rows are reported, good ones kept. `name` is a stream's file name, `progress` is called after each chunk.

    Raises `Invalid` where the file as a whole cannot be read: then nothing was written.
    """
    given = dict(mapping or {})
    async with opened(source, limits) as (file, size):
        name = name or str(getattr(file, "name", ""))
        file_format = find_format(file, name, format)
        rows = await anyio.to_thread.run_sync(
            _open, service, file, file_format, given, encoding, delimiter, sheet, profile, limits
        )
        try:
            run = _Run(service, rows, dry_run, run_id or new_id(), profile, limits)
            parsed = run.parse()
            while chunk := await anyio.to_thread.run_sync(lambda: list(islice(parsed, CHUNK))):
                await run.take(chunk)
                if progress is not None:
                    progress(Progress(run.tally.rows, min(_place(file, size), size), size))
            if rows.broken:
                run.tally.stop(run.last_line + 1, rows.broken)
            rows.columns.note_absent()
            return run.report()
        finally:
            rows.close()


def _open(
    service: EntityService[Any],
    file: BinaryIO,
    format: Format,
    mapping: Mapping[str, str | None],
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    profile: Profile | None,
    limits: Limits,
) -> _File:
    entity = service.entity
    in_cells = format in ("csv", "xlsx")
    columns = Columns(entity, profile or profile_of(entity), mapping, sheet=in_cells, max_columns=limits.columns)
    reader: CsvReader | LinesReader | ArrayReader | XlsxReader
    if format == "csv":
        reader = CsvReader(file, find_encoding(file, encoding), limits, delimiter)
    elif format == "xlsx":
        reader = XlsxReader(file, limits, sheet)
    else:
        if find_encoding(file, encoding) not in ("utf-8", "utf-8-sig"):
            raise Invalid({"encoding": "JSON is UTF-8; save the file as that"})
        reader = LinesReader(file, limits) if format == "ndjson" else ArrayReader(file, limits)
    if isinstance(reader, (CsvReader, XlsxReader)):
        columns.expect(reader.columns)
        columns.add(reader.columns)
        if not columns.targets:
            raise Invalid({"columns": f"no column is known; the file has {', '.join(reader.columns[:20])}; map them"})
    return _File(format, reader, columns)


def _place(file: BinaryIO, size: int) -> int:
    try:
        return file.tell()
    except (OSError, ValueError):
        return size


class _Run:
    """One import under way."""

    def __init__(
        self,
        service: EntityService[Any],
        rows: _File,
        dry_run: bool,
        run_id: str,
        profile: Profile | None,
        limits: Limits,
    ) -> None:
        identity = service.context.identity
        self.tally = Tally()
        self.last_line = 0
        self._service = service
        self._rows = rows
        self._dry_run = dry_run
        self._run_id = run_id
        self._limits = limits
        self._tenant = identity.tenant_id
        self._key = row_keys(service.entity, profile or profile_of(service.entity), identity.tenant_id)
        self._chunks = 0
        # What a dry run would have written: one number a row, so that it finds the doubles within the file.
        self._seen: set[int] = set()

    # -- reading, in a thread -------------------------------------------------------------------------------------

    def parse(self) -> Iterator[_Good | _Bad]:
        """The rows, checked and with their ids."""
        for count, raw in enumerate(self._rows.reader, 1):
            if count > self._limits.rows:
                yield _Bad(raw.line, {"file": f"has more than {self._limits.rows} rows; split it"}, {})
                return
            yield self._parsed(raw, first=count == 1)

    def _parsed(self, raw: Raw, *, first: bool) -> _Good | _Bad:
        self.last_line = raw.line
        if raw.cells is None:
            return _Bad(raw.line, {"row": raw.problem}, {})
        columns = self._rows.columns
        values: dict[str, Any] = {}
        try:
            values = columns.read(raw.cells)
            if first and "id" in values:
                columns.check_ids(raw.cells)
                values = columns.read(raw.cells)
            named = bool(values.get("id"))
            row = check_row(columns.entity, values)
        except Invalid as error:
            return _Bad(raw.line, error.fields, values)
        return _Good(raw.line, row if named else msgspec.structs.replace(row, id=self._key(row)))

    # -- writing --------------------------------------------------------------------------------------------------

    async def take(self, chunk: Iterable[_Good | _Bad]) -> None:
        """One chunk: its bad rows to the report, its good ones to the service."""
        good: list[_Good] = []
        for item in chunk:
            if isinstance(item, _Good):
                good.append(item)
            else:
                self.tally.fail(item.line, item.problems, item.values)
        self._chunks += 1
        if not good:
            return
        rows = [item.row for item in good]
        if self._dry_run:
            outcomes: Sequence[Outcome] = self._without_doubles(rows, await self._service.check_create(rows))
        else:
            outcomes = await self._write(rows)
        for item, outcome in zip(good, outcomes, strict=True):
            self._settle(item, outcome.error)

    async def _write(self, rows: list[Any]) -> tuple[Outcome, ...]:
        operation = derived_id(self._tenant, self._service.entity.resource, self._run_id, str(self._chunks))
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._service.bulk_create(rows, operation_id=operation)
            except OutcomeUnknown:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _settle(self, item: _Good, error: Exception | None) -> None:
        if error is None:
            self.tally.created += 1
        elif isinstance(error, Duplicate):
            what = "this record" if error.field == "id" else f"a record with this {error.field}"
            self.tally.skip(item.line, f"{what} is there already", error.existing_id)
        elif isinstance(error, Invalid):
            values = {name: getattr(item.row, name, None) for name in error.fields}
            self.tally.fail(item.line, error.fields, values)
        else:
            self.tally.fail(item.line, {"row": error.message if isinstance(error, InterlockError) else str(error)})

    def _without_doubles(self, rows: list[Any], outcomes: tuple[Outcome, ...]) -> list[Outcome]:
        entity = self._service.entity
        settled: list[Outcome] = []
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome.error is None:
                keys = {"id": hash(row.id)}
                for unique in entity.unique:
                    value = entity.unique_value(unique, row)
                    if value is not None:
                        keys[unique.field] = hash((unique.field, value))
                double = next((field for field, key in keys.items() if key in self._seen), None)
                if double is None:
                    self._seen.update(keys.values())
                else:
                    held = row.id if double == "id" else None
                    outcome = Outcome(row.id, error=Duplicate(entity.resource, double, held))
            settled.append(outcome)
        return settled

    def report(self) -> Report:
        """What became of the file."""
        tally, columns = self.tally, self._rows.columns
        return Report(
            format=self._rows.format,
            dry_run=self._dry_run,
            rows=tally.rows,
            created=tally.created,
            skipped=tally.skipped,
            failed=tally.failed,
            failures=tuple(tally.failures),
            skips=tuple(tally.skips),
            columns=dict(columns.targets),
            ignored=dict(columns.ignored),
            complete=tally.complete,
            run_id=self._run_id,
        )
