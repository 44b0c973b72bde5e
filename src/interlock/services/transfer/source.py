"""A file to import: opened, or spooled to disk from a stream, and its format and encoding found out."""

from __future__ import annotations

import codecs
import io
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

import anyio.to_thread

from interlock.errors import Invalid
from interlock.services.transfer.report import Format, Limits

__all__ = ["Raw", "Source", "find_encoding", "find_format", "opened"]

Source = str | Path | bytes | BinaryIO | AsyncIterator[bytes]
"""A path, the bytes themselves, a seekable binary file, or a stream of chunks."""

_SUFFIXES: Final[Mapping[str, Format]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".xlsx": "xlsx",
}
_STEP = 1024 * 1024
_BOMS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Raw(NamedTuple):
    """One row as it stands in the file: its cells by column, or what is wrong with it as a whole."""

    line: int
    cells: Mapping[str, Any] | None
    problem: str = ""


@asynccontextmanager
async def opened(source: Source, limits: Limits) -> AsyncIterator[tuple[BinaryIO, int]]:
    """The file, open for reading at its start, and its size. A stream is spooled to disk first, up to the limit."""
    if isinstance(source, (str, Path)):
        try:
            file: BinaryIO = Path(source).open("rb")  # noqa: ASYNC230, SIM115 - only opened here, and closed below; reading goes to a thread
        except OSError as error:
            raise Invalid({"file": f"cannot be read: {error.strerror or error}"}) from error
        with file:
            yield file, _size(file, limits)
    elif isinstance(source, (bytes, bytearray)) or hasattr(source, "__aiter__"):
        with tempfile.SpooledTemporaryFile(max_size=_STEP) as spool:
            spooled = cast("BinaryIO", spool)
            if isinstance(source, (bytes, bytearray)):
                spooled.write(source)
            else:
                await _spool(cast("AsyncIterator[bytes]", source), spooled, limits)
            yield spooled, _size(spooled, limits)
    else:
        yield source, _size(source, limits)


async def _spool(chunks: AsyncIterator[bytes], spool: BinaryIO, limits: Limits) -> None:
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limits.file:
            raise Invalid({"file": f"is over {limits.file} bytes; split it"})
        await anyio.to_thread.run_sync(spool.write, chunk)


def _size(file: BinaryIO, limits: Limits) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    if size > limits.file:
        raise Invalid({"file": f"is {size} bytes, over the limit of {limits.file}; split it"})
    if size == 0:
        raise Invalid({"file": "is empty"})
    return size


def find_format(file: BinaryIO, name: str, wanted: Format | None) -> Format:
    """The format asked for, or that of the name's suffix, or of the first bytes; `json` covers both an array and one record a line."""
    start = file.read(4096)
    file.seek(0)
    is_zip = start.startswith(b"PK\x03\x04")
    text = _unmarked(start).lstrip()
    found = wanted or _SUFFIXES.get(Path(name).suffix.lower())
    if found is None:
        found = "xlsx" if is_zip else "json" if text[:1] in (b"[", b"{") else "csv"
    if found == "xlsx" and not is_zip:
        raise Invalid({"file": "is not an XLSX file; choose the format that it has, or save it as XLSX"})
    if found != "xlsx" and is_zip:
        raise Invalid({"file": f"is an XLSX (or another zip) file, not {found}; say format xlsx"})
    if found == "json" and text[:1] == b"{":
        return "ndjson"
    return found


def _unmarked(start: bytes) -> bytes:
    return start.removeprefix(codecs.BOM_UTF8)


def find_encoding(file: BinaryIO, wanted: str | None) -> str:
    """The encoding of a text file, proven over all of it before anything is taken from it.

    A byte-order mark decides; else UTF-8 is expected. Other encodings are only taken when asked for, since they cannot be told apart.
    """
    start = file.read(4096)
    file.seek(0)
    encoding = wanted or next((name for mark, name in _BOMS if start.startswith(mark)), "utf-8")
    if wanted and wanted.lower().replace("_", "-") in ("utf-8", "utf8"):
        encoding = "utf-8-sig"
    if wanted is None and encoding == "utf-8" and start.count(0) * 5 > len(start):
        raise Invalid({"encoding": "the file looks like UTF-16 without a mark; say encoding utf-16-le (or utf-16-be)"})
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses codecs that are not of text, such as hex and zip
        decode = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise Invalid({"encoding": f"{encoding!r} is not known; say utf-8, utf-16 or cp1252"}) from error
    place = 0
    try:
        for step in _steps(file):
            decode.decode(step)
            place += len(step)
        decode.decode(b"", final=True)
    except UnicodeError as error:
        offset = place + getattr(error, "start", 0)
        mend = (
            "say encoding cp1252 where it comes from Windows, or save it as UTF-8"
            if wanted is None
            else "say another one"
        )
        raise Invalid({"encoding": f"the file is not {encoding} (at byte {offset}); {mend}"}) from error
    file.seek(0)
    return encoding


def _steps(file: BinaryIO) -> Iterator[bytes]:
    while step := file.read(_STEP):
        yield step
