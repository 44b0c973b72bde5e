"""JSON: one array, or one record a line (NDJSON). Read a record at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from interlock.entity import Field
from interlock.errors import Invalid, Misconfigured
from interlock.services.transfer.report import Limits
from interlock.services.transfer.source import Raw

__all__ = ["ArrayReader", "JsonWriter", "LinesReader"]

_NOT_A_RECORD = 'is not a JSON object such as {"companyName": "Acme"}'


class LinesReader:
    """The records of an NDJSON file, in UTF-8."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._limits = limits

    def __iter__(self) -> Iterator[Raw]:
        decode = msgspec.json.Decoder().decode
        limit = self._limits.row * 4  # bytes of UTF-8 for a character
        number = 0
        while line := self._file.readline(limit):
            number += 1
            if len(line) >= limit and not line.endswith(b"\n"):
                while (more := self._file.readline(limit)) and not more.endswith(b"\n"):
                    pass
                yield Raw(number, None, f"the record is over {limit} bytes")
                continue
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if not line.strip():
                continue
            try:
                record = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield Raw(number, None, f"is not JSON: {error}")
                continue
            yield Raw(number, record) if isinstance(record, dict) else Raw(number, None, _NOT_A_RECORD)


class _Metered:
    """A file that refuses to be read further once a single record takes more than its share."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._since = 0

    def record_done(self) -> None:
        self._since = 0

    def read(self, size: int = -1) -> bytes:
        step = self._file.read(size)
        self._since += len(step)
        if self._since > self._limit:
            raise Invalid({"file": f"a record is over {self._limit} bytes"})
        return step


class ArrayReader:
    """The records of a JSON array, one after the other as they are read. `line` is their place in the array.

    What is not JSON ends the reading: `broken` then says why.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        try:
            import ijson  # type: ignore[import-untyped]  # ships no types
        except ImportError as error:
            raise Misconfigured(["reading JSON arrays needs ijson: pip install 'interlock[transfer]'"]) from error
        self._ijson = ijson
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        self._file = _Metered(file, limits.row * 4 + 128 * 1024)
        self.broken = ""

    def __iter__(self) -> Iterator[Raw]:
        number = 0
        try:
            for record in self._ijson.items(self._file, "item"):
                number += 1
                self._file.record_done()
                yield Raw(number, record) if isinstance(record, dict) else Raw(number, None, _NOT_A_RECORD)
        except (self._ijson.JSONError, UnicodeDecodeError) as error:
            # the parser's text quotes the file in later lines
            self.broken = f"is not JSON here: {str(error).splitlines()[0]}"
        except Invalid as error:
            self.broken = error.message


class JsonWriter:
    """Records to a JSON array, or to NDJSON, under their wire names."""

    def __init__(self, fields: Sequence[Field], *, lines: bool) -> None:
        self._columns = [(field.wire, field.name) for field in fields]
        self._lines = lines
        self._encode = msgspec.json.Encoder(decimal_format="string").encode
        self._first = True

    def start(self) -> bytes:
        """The array's beginning."""
        return b"" if self._lines else b"["

    def rows(self, rows: Iterable[Any]) -> bytes:
        """Some records."""
        records = [self._encode({wire: getattr(row, name) for wire, name in self._columns}) for row in rows]
        if not records:
            return b""
        if self._lines:
            return b"\n".join(records) + b"\n"
        lead = b"\n" if self._first else b",\n"
        self._first = False
        return lead + b",\n".join(records)

    def end(self) -> bytes:
        """The array's end."""
        return b"" if self._lines else b"\n]\n"
