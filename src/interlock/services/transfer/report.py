"""What an import tells: its limits, its progress, and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec

__all__ = ["MAX_LISTED", "Failure", "Format", "Limits", "Progress", "Report", "Skip", "Tally", "Watcher"]

Format = Literal["csv", "json", "ndjson", "xlsx"]

MAX_LISTED: Final = 1000
"""How many failed, and how many skipped, rows a report lists. All of them are counted."""

_MAX_SHOWN = 80


class Limits(msgspec.Struct, frozen=True):
    """How much of a file is taken. Bytes, except where said; what is over a limit is `Invalid`, or one bad row.

    `expanded` and `ratio` guard against XLSX files that unpack to far more than they are; `part` is for the parts of one that must be
    held in memory (shared texts, styles). `row` is of one JSON record or one CSV line, in characters.
    """

    file: int = 2 * 1024**3
    expanded: int = 4 * 1024**3
    ratio: int = 200
    part: int = 64 * 1024**2
    row: int = 1_000_000
    columns: int = 500
    rows: int = 10_000_000


class Failure(msgspec.Struct, frozen=True, rename="camel"):
    """One field of one row that could not be taken. `line` counts from 1, as an editor or a spreadsheet shows it.

    In a JSON array `line` is the place of the record, from 1.
    """

    line: int
    field: str
    reason: str
    value: str = ""


class Skip(msgspec.Struct, frozen=True, rename="camel"):
    """One row that was there already, as the record `existing_id`, or earlier in the file."""

    line: int
    reason: str
    existing_id: str | None = None


class Progress(msgspec.Struct, frozen=True, rename="camel"):
    """How far an import is: rows so far, and bytes read of all. An export has rows only."""

    rows: int
    bytes_done: int = 0
    bytes_total: int | None = None


Watcher = Callable[[Progress], None]


class Report(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What became of a file. In a dry run, what would become of it.

    `rows` = `created` + `skipped` + `failed`. `failures` and `skips` list the first 1,000 rows of their kind. `columns` says which column
    went to which field, and `ignored` why a column went nowhere. `complete` is False where the rest of the file could not be read; the
    last failure says why.
    """

    format: Format
    dry_run: bool
    rows: int
    created: int
    skipped: int
    failed: int
    failures: tuple[Failure, ...]
    skips: tuple[Skip, ...]
    columns: Mapping[str, str]
    ignored: Mapping[str, str]
    complete: bool = True
    run_id: str = ""


def shown(value: Any) -> str:
    """A value for a report: short, and printable."""
    text = value if isinstance(value, str) else "" if value is None else str(value)
    text = text[: _MAX_SHOWN + 1]
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


class Tally:
    """Counts rows as they come to their end, and lists the first of them."""

    def __init__(self) -> None:
        self.created = 0
        self.skipped = 0
        self.failed = 0
        self.failures: list[Failure] = []
        self.skips: list[Skip] = []
        self.complete = True
        self._listed = 0

    @property
    def rows(self) -> int:
        """All rows that came to an end."""
        return self.created + self.skipped + self.failed

    def fail(self, line: int, problems: Mapping[str, str], values: Mapping[str, Any] | None = None) -> None:
        """One bad row, with what is wrong in each field."""
        self.failed += 1
        if self._listed < MAX_LISTED:
            self._listed += 1
            self.failures += [
                Failure(line, field, reason, shown((values or {}).get(field))) for field, reason in problems.items()
            ]

    def stop(self, line: int, reason: str) -> None:
        """The file can be read no further. This is always listed."""
        self.complete = False
        self.failed += 1
        self.failures.append(Failure(line, "file", f"{reason}; nothing after it was read"))

    def skip(self, line: int, reason: str, existing_id: str | None) -> None:
        """One row that is there already."""
        self.skipped += 1
        if len(self.skips) < MAX_LISTED:
            self.skips.append(Skip(line, reason, existing_id))
