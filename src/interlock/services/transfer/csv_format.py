"""CSV, read and written a line at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from interlock.entity import Field
from interlock.errors import Invalid
from interlock.services.transfer.cells import to_cell
from interlock.services.transfer.report import Limits
from interlock.services.transfer.source import Raw

__all__ = ["CsvReader", "CsvWriter", "check_header"]

_DELIMITERS = ",;\t|"


def check_header(names: Sequence[str], limits: Limits) -> tuple[str, ...]:
    """The columns' names, trimmed; one without a name is called by its number. Raises `Invalid` for doubles and for too many."""
    if len(names) > limits.columns:
        raise Invalid({"columns": f"the file has {len(names)}, over the limit of {limits.columns}; remove some"})
    columns = tuple(name.strip() or f"(column {place})" for place, name in enumerate(names, 1))
    seen: dict[str, int] = {}
    for place, name in enumerate(columns, 1):
        if name in seen:
            raise Invalid({"columns": f"{name!r} stands twice, as columns {seen[name]} and {place}; rename one"})
        seen[name] = place
    if not any(name.strip() for name in names):
        raise Invalid({"columns": "the first line has no names of columns; add a header"})
    return columns


class _Lines:
    """The physical lines of a text, bounded: one that is too long is cut, skipped to its end, and remembered as bad."""

    def __init__(self, text: io.TextIOWrapper, limit: int) -> None:
        self.number = 0
        self.too_long = False
        self._text = text
        self._limit = limit

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._limit)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) >= self._limit and not line.endswith(("\n", "\r")):
            self.too_long = True
            while (more := self._text.readline(self._limit)) and not more.endswith(("\n", "\r")):
                pass
        return line


class CsvReader:
    """The rows of a CSV file. `columns` is known at once; iterate for the rows. Delimiters are found out: comma, semicolon, tab, bar."""

    def __init__(self, file: BinaryIO, encoding: str, limits: Limits, delimiter: str | None = None) -> None:
        self._text = io.TextIOWrapper(file, encoding=encoding, newline="")
        self._limits = limits
        self._lines = _Lines(self._text, limits.row)
        header = next(self._lines, "").lstrip("\ufeff")
        if header[:4].lower() == "sep=":
            delimiter = delimiter or header[4:5]
            header = next(self._lines, "")
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
            raise Invalid({"delimiter": "is not one character such as , or ;"})
        self._delimiter = delimiter or _sniff(header)
        self._reader = csv.reader(self._first(header), delimiter=self._delimiter, strict=True)
        try:
            names = next(self._reader, [])
        except csv.Error as error:
            raise Invalid({"columns": f"the header cannot be read: {error}"}) from error
        self.columns = check_header(names, limits)

    def _first(self, header: str) -> Iterator[str]:
        yield header
        yield from self._lines

    def close(self) -> None:
        """Let go of the file, without closing it."""
        self._text.detach()

    def __iter__(self) -> Iterator[Raw]:
        lines, columns, width = self._lines, self.columns, len(self.columns)
        while True:
            line = lines.number + 1
            try:
                row = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                lines.too_long = False
                yield Raw(line, None, _mend(str(error)))
                continue
            if lines.too_long:
                lines.too_long = False
                yield Raw(line, None, f"a line is longer than {self._limits.row} characters; is a quote missing?")
            elif len(row) > width and any(row[width:]):
                yield Raw(
                    line,
                    None,
                    f"has {len(row)} cells where the header has {width}; quote a cell that holds the delimiter",
                )
            elif any(row):
                yield Raw(line, dict(zip(columns, row, strict=False)))


def _sniff(header: str) -> str:
    """The delimiter that stands most often outside of quotes; a comma where none does."""
    bare = "".join(header.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _mend(native: str) -> str:
    if "field larger" in native:
        return "a cell is over 131072 characters; is a closing quote missing?"
    if "unexpected end" in native:
        return "a quote is opened and never closed; close it, or double it if it belongs to the text"
    return f"{native}; double each quote that belongs to the text"


class CsvWriter:
    """Records to CSV, with a mark for spreadsheets (UTF-8), CRLF lines and shielded formulas."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self._columns = [(field.name, to_cell(field)) for field in fields]
        self._header = [field.name for field in fields]

    def start(self) -> bytes:
        """The header."""
        return b"\xef\xbb\xbf" + self._encode([self._header])

    def rows(self, rows: Iterable[Any]) -> bytes:
        """Some records."""
        return self._encode([write(getattr(row, name)) for name, write in self._columns] for row in rows)

    def end(self) -> bytes:
        """Nothing follows the last record."""
        return b""

    @staticmethod
    def _encode(table: Iterable[Sequence[str]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(table)
        return text.getvalue().encode()
