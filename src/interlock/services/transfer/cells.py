"""Between a field's value and the cell of a spreadsheet.

A text that a spreadsheet would take for a formula gets an apostrophe in front, and reading takes it off again: `unshield(shield(x)) == x`
for every text. An empty text and a null are both an empty cell, and an empty cell is read as nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from interlock.contract import Point
from interlock.entity import Field

__all__ = ["EMPTY", "from_cell", "shield", "to_cell", "unshield"]

EMPTY: Final = msgspec.UNSET
"""Nothing was in the cell: the field keeps its default."""

_STARTS = (
    "=+\\-@\t\r\n\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)
_risky = re.compile(f"'*[{_STARTS}]").match
_shielded = re.compile(f"'+[{_STARTS}]").match
_TRUE = frozenset({"true", "yes", "1", "y"})
_FALSE = frozenset({"false", "no", "0", "n"})


def shield(text: str) -> str:
    """The text, not to be taken for a formula."""
    return f"'{text}" if _risky(text) else text


def unshield(text: str) -> str:
    """The text that was shielded."""
    return text[1:] if text[:1] == "'" and _shielded(text) else text


# -- writing ------------------------------------------------------------------------------------------------------


def to_cell(field: Field) -> Callable[[Any], str]:
    """What writes the field's values as text."""
    return _WRITERS.get(field.kind, _write_text)


def _write_text(value: Any) -> str:
    return "" if value is None else shield(value)


def _write_decimal(value: Any) -> str:
    return "" if value is None else format(value, "f")


def _write_number(value: Any) -> str:
    return "" if value is None else repr(value)


def _write_bool(value: Any) -> str:
    return "" if value is None else "true" if value else "false"


def _write_date(value: Any) -> str:
    return "" if value is None else value.isoformat()


def _write_time(value: Any) -> str:
    return "" if value is None else value.isoformat().replace("+00:00", "Z")


def _write_texts(value: Any) -> str:
    if not value:
        return ""
    joined = "; ".join(value)
    if _read_texts(joined) == tuple(value):
        return shield(joined)
    return shield(msgspec.json.encode(value).decode())


def _write_point(value: Any) -> str:
    return "" if value is None else shield(f"{value.lat!r}, {value.lon!r}")


def _write_json(value: Any) -> str:
    return "" if value is None else shield(msgspec.json.encode(value).decode())


_WRITERS: Final[dict[str, Callable[[Any], str]]] = {
    "int": _write_number,
    "float": _write_number,
    "decimal": _write_decimal,
    "bool": _write_bool,
    "date": _write_date,
    "datetime": _write_time,
    "texts": _write_texts,
    "point": _write_point,
    "json": _write_json,
}


# -- reading ------------------------------------------------------------------------------------------------------


def from_cell(field: Field, *, sheet: bool) -> Callable[[Any], Any]:
    """What reads a cell (or a JSON value) as the field's, or as `EMPTY`. It never fails: the check that follows names what is wrong.

    `sheet` says that texts come from a spreadsheet, so that shields are taken off and an empty text is nothing.
    """
    convert = _READERS.get(field.kind, _read_text)
    if field.choices:
        known = {choice.lower(): choice for choice in field.choices}
        convert = lambda raw: known.get(raw.strip().lower(), raw) if isinstance(raw, str) else raw  # noqa: E731 - one of a family

    def read(raw: Any) -> Any:
        if raw is None:
            return EMPTY
        if sheet and isinstance(raw, str):
            if not raw:
                return EMPTY
            return convert(unshield(raw))
        return convert(raw)

    return read


def _read_text(raw: Any) -> Any:
    if isinstance(raw, (str, dict, list)):
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float) and raw.is_integer():
        return str(int(raw))
    if isinstance(raw, datetime) and raw.time() == time():
        return raw.date().isoformat()
    return raw.isoformat() if isinstance(raw, (date, time)) else str(raw)


def _read_int(raw: Any) -> Any:
    if isinstance(raw, str):
        try:
            return int(raw)
        except ValueError:
            return raw
    if isinstance(raw, (float, Decimal)) and -(2**63) < raw < 2**63 and raw == int(raw):
        return int(raw)
    return raw


def _read_float(raw: Any) -> Any:
    if isinstance(raw, (str, Decimal)):
        try:
            return float(raw)
        except ValueError:
            return raw
    return raw


def _read_decimal(raw: Any) -> Any:
    if isinstance(raw, (str, float)):
        try:
            return Decimal(raw.strip() if isinstance(raw, str) else repr(raw))
        except InvalidOperation:
            return raw
    return Decimal(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw


def _read_bool(raw: Any) -> Any:
    if isinstance(raw, str):
        folded = raw.strip().lower()
        return True if folded in _TRUE else False if folded in _FALSE else raw
    return bool(raw) if isinstance(raw, (int, float)) and raw in (0, 1) else raw


def _read_date(raw: Any) -> Any:
    if isinstance(raw, datetime):
        return raw.date()
    return raw.strip() if isinstance(raw, str) else raw


def _read_time(raw: Any) -> Any:
    """A spreadsheet's dates have no zone: they are taken as UTC."""
    if isinstance(raw, datetime):
        return raw if raw.tzinfo else raw.replace(tzinfo=UTC)
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day, tzinfo=UTC)
    return raw.strip() if isinstance(raw, str) else raw


def _read_texts(raw: Any) -> Any:
    if not isinstance(raw, str):
        return tuple(raw) if isinstance(raw, list) else raw
    if raw.lstrip().startswith("["):
        try:
            return tuple(msgspec.json.decode(raw, type=list[str]))
        except msgspec.MsgspecError:
            pass  # a text that only looks like a JSON list
    return tuple(part for text in raw.split(";") if (part := text.strip()))


def _read_point(raw: Any) -> Any:
    if not isinstance(raw, str):
        if isinstance(raw, dict) and raw.keys() >= {"lat", "lon"}:
            return {name: _read_float(value) for name, value in raw.items()}
        return raw
    lat, _, lon = raw.replace(";", ",").partition(",")
    try:
        return Point(float(lat), float(lon))
    except ValueError:
        return raw


def _read_json(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return raw


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _read_int,
    "float": _read_float,
    "decimal": _read_decimal,
    "bool": _read_bool,
    "date": _read_date,
    "datetime": _read_time,
    "texts": _read_texts,
    "point": _read_point,
    "json": _read_json,
}
