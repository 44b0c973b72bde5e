"""JSON: one array, or one record a line (NDJSON). Read a record at a time."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from interlock.entity import Field
from interlock.services.transfer.report import Limits
from interlock.services.transfer.source import Raw

__all__ = ["ArrayReader", "JsonWriter", "LinesReader"]

_NOT_A_RECORD = 'is not a JSON object such as {"companyName": "Acme"}'
_TOKENS = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[\[\]{},]', re.DOTALL)
_QUOTE, _COMMA = b'",'
_STEP = 256 * 1024
_WIDEST = 4  # bytes of UTF-8 for one character
_decode = msgspec.json.Decoder().decode


class LinesReader:
    """The records of an NDJSON file, in UTF-8."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._limit = limits.row * _WIDEST

    def __iter__(self) -> Iterator[Raw]:
        number = 0
        while line := self._file.readline(self._limit):
            number += 1
            if len(line) >= self._limit and not line.endswith(b"\n"):
                while (more := self._file.readline(self._limit)) and not more.endswith(b"\n"):
                    pass
                yield Raw(number, None, f"the record is over {self._limit} bytes")
                continue
            line = line.removeprefix(BOM_UTF8) if number == 1 else line
            if line.strip():
                yield _record(number, line)


class ArrayReader:
    """The records of a JSON array, one after the other as they are read. `line` is their place in the array.

    Only the array itself is taken apart here; each record is decoded by msgspec, which is strict where streaming parsers are not: ijson
    on yajl reads a lone surrogate as "?", and overflows the C stack on deep input. A record that is no JSON fails alone. Where the array
    itself breaks off, `broken` says why.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._limit = limits.row * _WIDEST
        self.broken = ""

    def __iter__(self) -> Iterator[Raw]:
        for number, element in enumerate(self._elements(), 1):
            yield _record(number, element)

    def _elements(self) -> Iterator[bytes]:
        """The bytes between the commas of the outermost array."""
        buffer = self._file.read(_STEP).removeprefix(BOM_UTF8).lstrip()
        if not buffer.startswith(b"["):
            self.broken = "is not an array of records"
            return
        start = place = 1  # of the element under way, and of what is not looked at yet
        depth = 1
        found = False
        while True:
            for token in _TOKENS.finditer(buffer, place):
                mark = buffer[token.start()]
                if mark == _QUOTE:
                    if not token.group(1):
                        place = token.start()  # the text goes on in what is not read yet
                        break
                elif mark in b"[{":
                    depth += 1
                elif mark in b"]}":
                    depth -= 1
                if depth == 0 or (depth == 1 and mark == _COMMA):
                    element = buffer[start : token.start()]
                    if found or depth or element.strip():
                        yield element
                    found = True
                    start = token.end()
                if depth == 0:
                    if buffer[start:].strip() or self._file.read(_STEP).strip():
                        self.broken = "something follows the array"
                    return
                place = token.end()
            else:
                place = len(buffer)
            step = self._file.read(_STEP)
            if not step:
                self.broken = "the array is not closed"
                return
            buffer, place, start = buffer[start:] + step, place - start, 0
            if len(buffer) > self._limit + _STEP:
                self.broken = f"a record is over {self._limit} bytes"
                return


def _record(number: int, encoded: bytes) -> Raw:
    try:
        record = _decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Raw(number, None, f"is not JSON: {error}")
    return Raw(number, record) if isinstance(record, dict) else Raw(number, None, _NOT_A_RECORD)


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
