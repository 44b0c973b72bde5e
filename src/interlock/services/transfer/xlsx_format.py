"""XLSX, read row by row (openpyxl) and written row by row (xlsxwriter), after a look at what the archive claims to hold.

python-calamine reads fifteen times as fast and holds the whole sheet: 159 MB for 150,000 rows of 10 cells, where this holds 37 MB for
any number of rows. Flat memory decides.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO
from xml.etree import ElementTree

from interlock.entity import Field
from interlock.errors import Invalid, Misconfigured
from interlock.services.transfer.cells import to_cell
from interlock.services.transfer.csv_format import check_header
from interlock.services.transfer.report import Limits
from interlock.services.transfer.source import Raw

__all__ = ["XlsxReader", "XlsxWriter", "check_archive"]

MAX_ROWS = 1_048_576
MAX_TEXT = 32_767
_MAX_PARTS = 10_000
_MAX_GAP = 10_000
_SMALL = 16 * 1024**2
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_FIRST_DATE = date(1900, 3, 1)  # Excel believes in a 29th of February 1900
_MEND = "save it again as XLSX"


def check_archive(file: BinaryIO, limits: Limits) -> None:
    """Raises `Invalid` for an archive that is broken, locked, or unpacks to more than the limits. Unpacks nothing but its list of contents."""
    try:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            _check_parts(parts, limits)
            _check_shared(archive, {part.filename: part for part in parts}, limits)
    except (zipfile.BadZipFile, OSError, ElementTree.ParseError, NotImplementedError, RuntimeError, KeyError) as error:
        raise Invalid({"file": f"is not a sound XLSX file ({type(error).__name__}); {_MEND}"}) from error
    file.seek(0)


def _check_parts(parts: Sequence[zipfile.ZipInfo], limits: Limits) -> None:
    if len(parts) > _MAX_PARTS:
        raise Invalid({"file": f"the archive has {len(parts)} parts; {_MEND}"})
    if len({part.filename for part in parts}) < len(parts):
        raise Invalid({"file": f"the archive has two parts of one name; {_MEND}"})
    if any(part.flag_bits & 1 for part in parts):
        raise Invalid({"file": "is protected by a password; remove it"})
    expanded = sum(part.file_size for part in parts)
    packed = sum(part.compress_size for part in parts)
    if expanded > limits.expanded:
        raise Invalid({"file": f"unpacks to {expanded} bytes, over the limit of {limits.expanded}; split it"})
    if expanded > _SMALL and expanded > packed * limits.ratio:
        raise Invalid({"file": f"unpacks to more than {limits.ratio} times its size, as a zip bomb does; {_MEND}"})
    for part in parts:
        if part.file_size > limits.part and not part.filename.startswith("xl/worksheets/"):
            raise Invalid({"file": f"its part {part.filename!r} unpacks to over {limits.part} bytes; use CSV"})


def _check_shared(archive: zipfile.ZipFile, parts: dict[str, zipfile.ZipInfo], limits: Limits) -> None:
    """The shared texts are held in memory, and may stand in a part of any name."""
    kinds = parts.get("[Content_Types].xml")
    if kinds is None or kinds.file_size > 1024**2:
        raise Invalid({"file": f"is a zip archive but not an XLSX file; {_MEND}"})
    text = archive.read(kinds)
    if b"<!DOCTYPE" in text:
        raise Invalid({"file": f"declares a document type, which XLSX files do not; {_MEND}"})
    for node in ElementTree.fromstring(text):  # noqa: S314 - without a document type there are no entities to expand
        if node.get("ContentType", "").endswith(("sharedStrings+xml", "sheet.main+xml", "styles+xml")):
            part = parts.get(node.get("PartName", "").lstrip("/"))
            if part is not None and part.file_size > limits.part:
                raise Invalid({"file": f"its shared texts unpack to over {limits.part} bytes; use CSV"})


class XlsxReader:
    """The rows of an XLSX file's first sheet, or of the one named. Formulas count as the values last computed."""

    def __init__(self, file: BinaryIO, limits: Limits, sheet: str | None = None) -> None:
        try:
            import openpyxl
        except ImportError as error:
            raise Misconfigured(["reading XLSX needs openpyxl: pip install 'interlock[transfer]'"]) from error
        check_archive(file, limits)
        self._limits = limits
        self.broken = ""
        with _native_errors():
            self._book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            names = self._book.sheetnames
            if not names or (sheet is not None and sheet not in names):
                raise Invalid({"sheet": f"there is no sheet {sheet!r}; the file has {', '.join(names) or 'none'}"})
            self._sheet = self._book[sheet] if sheet is not None else self._book.worksheets[0]
            self._sheet.reset_dimensions()
            self._rows = self._numbered()
            names_row = next(self._rows, (1, ()))[1]
        names_row = _trimmed(names_row)
        self.columns = check_header([_text(cell) for cell in names_row], limits)

    def _numbered(self) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Rows that are not empty, by their number in the sheet."""
        gap = 0
        for number, row in enumerate(self._sheet.iter_rows(values_only=True), 1):
            if number > MAX_ROWS:
                raise Invalid({"file": f"has rows beyond {MAX_ROWS}, which XLSX files do not; {_MEND}"})
            gap = 0 if any(cell is not None for cell in row) else gap + 1
            if gap > _MAX_GAP:
                return
            if not gap:
                yield number, row

    def close(self) -> None:
        """Let go of the file."""
        self._book.close()

    def __iter__(self) -> Iterator[Raw]:
        width = len(self.columns)
        while True:
            try:
                with _native_errors():
                    number, row = next(self._rows, (0, ()))
            except Invalid as error:
                self.broken = f"cannot be read here: {error.message}"
                return
            if not number:
                return
            if len(row) > width and any(cell is not None for cell in row[width:]):
                yield Raw(number, None, f"has cells to the right of the {width} columns that have names")
            else:
                yield Raw(number, {name: _value(cell) for name, cell in zip(self.columns, row, strict=False)})


@contextlib.contextmanager
def _native_errors() -> Iterator[None]:
    """The one place where the parser's errors become ours."""
    try:
        yield
    except (Invalid, MemoryError):
        raise
    except Exception as error:  # openpyxl lets through whatever its own code makes of a file that is not sound
        raise Invalid({"file": f"is not a sound XLSX file ({type(error).__name__}); {_MEND}"}) from error


def _trimmed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    end = len(row)
    while end and row[end - 1] is None:
        end -= 1
    return row[:end]


def _text(cell: Any) -> str:
    value = _value(cell)
    return "" if value is None else str(value)


def _value(cell: Any) -> Any:
    """A cell with the format's own escapes undone."""
    if isinstance(cell, str) and "_x" in cell:
        return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), cell)
    return cell


class XlsxWriter:
    """Records to XLSX, row by row through a temporary file. Texts are written as texts, never as formulas or links."""

    def __init__(self, fields: Sequence[Field]) -> None:
        try:
            import xlsxwriter  # type: ignore[import-untyped]  # ships no types
        except ImportError as error:
            raise Misconfigured(["writing XLSX needs xlsxwriter: pip install 'interlock[transfer]'"]) from error
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._book = xlsxwriter.Workbook(
            self.file,
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
            },
        )
        self._sheet = self._book.add_worksheet("Export")
        self._date = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._fields = tuple(fields)
        self._writers = [to_cell(field) for field in fields]
        self._row = 0
        self._sheet.freeze_panes(1, 0)
        for column, field in enumerate(fields):
            self._sheet.write_string(0, column, field.name)

    def rows(self, rows: Iterable[Any]) -> bytes:
        """Some records. The file's bytes come at its end."""
        for row in rows:
            self._row += 1
            if self._row >= MAX_ROWS:
                raise Invalid({"format": f"XLSX holds at most {MAX_ROWS - 1} records; use csv"})
            for column, (field, write) in enumerate(zip(self._fields, self._writers, strict=True)):
                self._write(column, field, write, getattr(row, field.name))
        return b""

    def _write(self, column: int, field: Field, write: Any, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) and _exact(value):
            self._sheet.write_number(self._row, column, float(value))
        elif field.kind == "date" and not isinstance(value, datetime) and value >= _FIRST_DATE:
            self._sheet.write_datetime(self._row, column, value, self._date)
        elif text := write(value):
            if len(text) > MAX_TEXT:
                raise Invalid({field.name: f"a cell of XLSX holds at most {MAX_TEXT} characters; use csv or json"})
            self._sheet.write_string(self._row, column, text)

    def finish(self) -> BinaryIO:
        """The file, complete and at its start."""
        self._book.close()
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        """Remove the temporary file."""
        self.file.close()


def _exact(value: float | Decimal) -> bool:
    """True where the format's 16 digits hold the number."""
    written = f"{float(value):.16G}"
    return Decimal(written) == value if isinstance(value, (Decimal, int)) else float(written) == value
