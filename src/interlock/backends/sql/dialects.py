"""What differs between SQLite and PostgreSQL, all of it: values, and a handful of expressions.

The columns' types are in `tables`: each is SQLite's, with a variant for PostgreSQL. Statements run on the driver's own connection, so
`bind` and `read` make what the drivers take and give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from math import asin, cos, radians, sin, sqrt
from types import MappingProxyType
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.aiosqlite import SQLiteDialect_aiosqlite
from sqlalchemy.engine.interfaces import Dialect as Compiler
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.types import TypeEngine

from interlock.entity import Field, Kind

__all__ = ["EARTH_KM", "Converter", "Dialect", "kilometres", "postgres", "sqlite"]

Converter = Callable[[Any], Any]

EARTH_KM: Final = 6371.0088
_SPLIT: Final = 10**9
"""SQLite's sums are 64 bits wide, and it raises when they overflow; so high and low parts are summed apart."""

_BUCKETS: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {"day": (10, "YYYY-MM-DD"), "month": (7, "YYYY-MM"), "year": (4, "YYYY")}
)


def kilometres(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """The great circle between two points in degrees, on the contract's sphere."""
    rise = sin(radians(other_lat - lat) / 2) ** 2
    turn = sin(radians(other_lon - lon) / 2) ** 2
    return 2 * EARTH_KM * asin(min(1.0, sqrt(rise + cos(radians(lat)) * cos(radians(other_lat)) * turn)))


def literal_text(text: str) -> str:
    """A LIKE pattern for this very text, anywhere."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


class Dialect(Protocol):
    """One of the two databases."""

    name: str
    compiler: Compiler
    locks_rows: bool
    """True where rows are locked one by one (`for update`); SQLite has one writer at a time."""

    def bind(self, kind: Kind) -> Converter | None:
        """What makes the driver's value of ours; None where they are the same."""
        ...

    def read(self, field: Field) -> Converter | None:
        """What makes our value of the driver's; None where they are the same."""
        ...

    def selected(self, col: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]: ...

    def sorted_last(self, col: ColumnElement[Any]) -> ColumnElement[Any]:
        """The column as a key of an order that must not choose the index."""
        ...

    def list_value(self, values: Sequence[Any]) -> Any: ...

    def in_list(self, col: ColumnElement[Any], param: str, type_: TypeEngine[Any]) -> ColumnElement[bool]: ...

    def contains(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]: ...

    def startswith(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]: ...

    def has_element(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]: ...

    def search_value(self, folded: str) -> str: ...

    def search(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]: ...

    def distance(self, lat: ColumnElement[Any], lon: ColumnElement[Any]) -> ColumnElement[float]:
        """Kilometres from the bound `near_lat`, `near_lon`."""
        ...

    def bucket(self, col: ColumnElement[Any], kind: Kind, size: str) -> ColumnElement[Any]: ...

    def measure(self, op: str, col: ColumnElement[Any], kind: Kind) -> tuple[ColumnElement[Any], ...]:
        """The columns that hold a sum, min or max."""
        ...

    def measured(self, op: str, values: Sequence[Any], field: Field) -> Any:
        """The value of those columns."""
        ...


def _near(name: str) -> ColumnElement[float]:
    return bindparam(name, type_=Double())


def _json_reader(field: Field) -> Converter:
    return msgspec.json.Decoder(field.python).decode


def _json_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _aware(value: datetime) -> datetime:
    """asyncpg gives the infinities, which stand for the last and the first moment, without their zone."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


class _Postgres:
    name = "postgresql"
    locks_rows = True

    def __init__(self) -> None:
        self.compiler: Compiler = PGDialect_asyncpg()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped

    def bind(self, kind: Kind) -> Converter | None:
        return _json_text if kind == "json" else None

    def read(self, field: Field) -> Converter | None:
        match field.kind:
            case "texts":
                return tuple
            case "json":
                return _json_reader(field)
            case "datetime" if not field.server_owned:
                return _aware
            case _:
                return None

    def selected(self, col: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
        # Without it 10.5 would come back as 10.5000, and SQLite gives 10.5.
        return func.trim_scale(col) if kind == "decimal" else col

    def sorted_last(self, col: ColumnElement[Any]) -> ColumnElement[Any]:
        return col

    def list_value(self, values: Sequence[Any]) -> Any:
        return list(values)

    def in_list(self, col: ColumnElement[Any], param: str, type_: TypeEngine[Any]) -> ColumnElement[bool]:
        plain = type_.dialect_impl(self.compiler)
        item: TypeEngine[Any] = Text() if isinstance(plain, Text) else plain
        return col == func.any(bindparam(param, type_=ARRAY(item)))

    def contains(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return func.strpos(col, bindparam(param, type_=Text())) > 0

    def startswith(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return func.starts_with(col, bindparam(param, type_=Text()))

    def has_element(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return bindparam(param, type_=Text()) == func.any(col)

    def search_value(self, folded: str) -> str:
        return literal_text(folded)

    def search(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return col.like(bindparam(param, type_=Text()), escape="\\")

    def distance(self, lat: ColumnElement[Any], lon: ColumnElement[Any]) -> ColumnElement[float]:
        rise = func.power(func.sin(func.radians(lat - _near("near_lat")) / 2), 2)
        turn = func.power(func.sin(func.radians(lon - _near("near_lon")) / 2), 2)
        arc = rise + func.cos(func.radians(_near("near_lat"))) * func.cos(func.radians(lat)) * turn
        return 2 * EARTH_KM * func.asin(func.least(cast(1.0, Double()), func.sqrt(arc)))

    def bucket(self, col: ColumnElement[Any], kind: Kind, size: str) -> ColumnElement[Any]:
        local = func.timezone(literal_column("'UTC'"), col) if kind == "datetime" else col
        width, form = _BUCKETS[size]
        # asyncpg writes the last and the first moment that Python knows as PostgreSQL's infinities, which have no text.
        return case(
            (col == literal_column("'infinity'"), literal_column(f"'{'9999-12-31'[:width]}'")),
            (col == literal_column("'-infinity'"), literal_column(f"'{'0001-01-01'[:width]}'")),
            else_=func.to_char(local, literal_column(f"'{form}'")),
        ).collate("C")

    def measure(self, op: str, col: ColumnElement[Any], kind: Kind) -> tuple[ColumnElement[Any], ...]:
        if kind == "bool":
            return (func.bool_and(col) if op == "min" else func.bool_or(col),)
        found: ColumnElement[Any] = getattr(func, op)(col)
        return (self.selected(found, kind),)

    def measured(self, op: str, values: Sequence[Any], field: Field) -> Any:
        value = values[0]
        if value is not None and op == "sum" and field.kind == "int":
            return int(value)
        convert = self.read(field)
        return value if value is None or convert is None else convert(value)


def _scaled(value: Decimal) -> int:
    return int(value.scaleb(4))


def _unscaled(value: int) -> Decimal:
    return Decimal(value) / 10_000


def _time_text(value: datetime) -> str:
    return value.isoformat(timespec="microseconds")


_SQLITE_BIND: Final[Mapping[Kind, Converter]] = MappingProxyType(
    {"decimal": _scaled, "datetime": _time_text, "date": date.isoformat, "texts": _json_text, "json": _json_text}
)
_SQLITE_READ: Final[Mapping[Kind, Converter]] = MappingProxyType(
    {
        "decimal": _unscaled,
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "bool": bool,
        "texts": msgspec.json.Decoder(tuple[str, ...]).decode,
    }
)


class _Sqlite:
    name = "sqlite"
    locks_rows = False

    def __init__(self) -> None:
        self.compiler: Compiler = SQLiteDialect_aiosqlite()

    def bind(self, kind: Kind) -> Converter | None:
        return _SQLITE_BIND.get(kind)

    def read(self, field: Field) -> Converter | None:
        return _json_reader(field) if field.kind == "json" else _SQLITE_READ.get(field.kind)

    def selected(self, col: ColumnElement[Any], kind: Kind) -> ColumnElement[Any]:
        return col

    def sorted_last(self, col: ColumnElement[Any]) -> ColumnElement[Any]:
        # Without statistics SQLite would rather read all of the tenant's rows in order than sort the few that match.
        return UnaryExpression(col, operator=custom_op("+"))

    def list_value(self, values: Sequence[Any]) -> Any:
        return _json_text(values)

    def in_list(self, col: ColumnElement[Any], param: str, type_: TypeEngine[Any]) -> ColumnElement[bool]:
        items = func.json_each(bindparam(param, type_=Text())).table_valued(column("value", type_))
        return col.in_(select(items.c.value))

    def contains(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return func.instr(col, bindparam(param, type_=Text())) > 0

    def startswith(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        prefix = bindparam(param, type_=Text())
        return func.substr(col, 1, func.length(prefix)) == prefix

    def has_element(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        items = func.json_each(col).table_valued(column("value", Text()))
        found: Select[Any] = select(items.c.value)
        return bindparam(param, type_=Text()).in_(found)

    def search_value(self, folded: str) -> str:
        return folded

    def search(self, col: ColumnElement[Any], param: str) -> ColumnElement[bool]:
        return self.contains(col, param)

    def distance(self, lat: ColumnElement[Any], lon: ColumnElement[Any]) -> ColumnElement[float]:
        return func.interlock_km(_near("near_lat"), _near("near_lon"), lat, lon, type_=Double())

    def bucket(self, col: ColumnElement[Any], kind: Kind, size: str) -> ColumnElement[Any]:
        return func.substr(col, literal_column("1", Integer()), literal_column(str(_BUCKETS[size][0]), Integer()))

    def measure(self, op: str, col: ColumnElement[Any], kind: Kind) -> tuple[ColumnElement[Any], ...]:
        if op == "sum" and kind in ("int", "decimal"):
            part = literal_column(str(_SPLIT), BigInteger())
            return func.sum(col.op("/")(part)), func.sum(col.op("%")(part))
        return (getattr(func, op)(col),)

    def measured(self, op: str, values: Sequence[Any], field: Field) -> Any:
        value = values[0]
        if value is not None and len(values) == 2:
            value = value * _SPLIT + values[1]
        convert = self.read(field)
        return value if value is None or convert is None else convert(value)


def postgres() -> Dialect:
    """PostgreSQL by asyncpg."""
    return _Postgres()


def sqlite() -> Dialect:
    """SQLite by aiosqlite."""
    return _Sqlite()
