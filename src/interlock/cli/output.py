"""Prints what commands find: for people with Rich, for programs as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interlock.contract import SERVER_OWNED, Outcome, Page, Record
from interlock.errors import Duplicate, InterlockError, Invalid, Misconfigured

__all__ = ["Output", "plain"]

_COLUMNS: Final = 6
_WIDE: Final = 40


def plain(value: Any) -> Any:
    """The value as JSON has it: records with camelCase names, money and times as text."""
    if isinstance(value, Outcome):
        return {
            "id": value.id,
            "row": plain(value.row),
            "error": None if value.error is None else error_of(value.error),
        }
    if isinstance(value, Page):
        return {
            "items": plain(value.items),
            "total": value.total,
            "nextCursor": value.next_cursor,
            "backend": value.backend,
            "cached": value.cached,
            "epoch": value.epoch,
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return msgspec.to_builtins(value, builtin_types=(), str_keys=True, enc_hook=str)


def error_of(error: Exception) -> dict[str, Any]:
    """An error as JSON has it."""
    found: dict[str, Any] = {"code": getattr(error, "code", "error"), "message": str(error)}
    if isinstance(error, Invalid):
        found["fields"] = error.fields
    if isinstance(error, Misconfigured):
        found["problems"] = list(error.problems)
    if isinstance(error, Duplicate):
        found |= {"field": error.field, "existingId": error.existing_id}
    return found


class Output:
    """Where a command prints. With `json`, standard output holds JSON and nothing else."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json
        self.console = Console(highlight=False)
        self.errors = Console(stderr=True, highlight=False)

    def data(self, value: Any) -> None:
        """One JSON document, on one line."""
        self.console.out(msgspec.json.encode(plain(value)).decode(), highlight=False)

    def say(self, text: str) -> None:
        """A line for people; programs do not see it."""
        if not self.json:
            self.console.print(text, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line beside the result, on standard error."""
        if not self.json:
            self.errors.print(f"[dim]{escape(text)}[/dim]", soft_wrap=True)

    def error(self, error: InterlockError) -> None:
        """What went wrong and how to mend it, on standard error."""
        if self.json:
            self.errors.out(msgspec.json.encode({"error": error_of(error)}).decode(), highlight=False)
            return
        lines = error.problems if isinstance(error, Misconfigured) else (error.message,)
        for line in lines:
            self.errors.print(f"[bold red]error[/bold red] {escape(line)}", soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, whole: bool = False) -> None:
        """A table for people; long values are cut unless they are wanted whole."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape(str(value) if whole else shown(value)) for value in row))
        self.console.print(table)

    def result(self, value: Any) -> None:
        """What a call answered."""
        if self.json:
            self.data(value)
        elif isinstance(value, Page):
            self._rows(value.items)
            if value.next_cursor or value.total not in (None, len(value.items)):
                total = "more follow" if value.total is None else f"{value.total} in all"
                self.note(f"{len(value.items)} shown, {total}")
        elif isinstance(value, Record):
            self._record(value)
        elif isinstance(value, (tuple, list)) and value and isinstance(value[0], Record):
            self._rows(value)
        elif value is not None:
            self.console.print_json(msgspec.json.encode(plain(value)).decode(), highlight=False)

    def _rows(self, rows: Sequence[Record]) -> None:
        if not rows:
            self.say("nothing found")
            return
        names = [name for name in type(rows[0]).__struct_fields__ if name not in SERVER_OWNED and name != "id"]
        filled = [name for name in names if any(getattr(row, name) not in (None, ()) for row in rows)][:_COLUMNS]
        self.table(["id", *filled], ([row.id, *(getattr(row, name) for name in filled)] for row in rows))

    def _record(self, row: Record) -> None:
        values = ((name, getattr(row, name)) for name in type(row).__struct_fields__)
        self.table(["field", "value"], ((name, value) for name, value in values if value not in (None, ())))


def shown(value: Any) -> str:
    """A value in a cell."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (str, int, Decimal)):
        text = str(value).replace("\n", " ")
    else:
        text = msgspec.json.encode(plain(value)).decode()
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"
