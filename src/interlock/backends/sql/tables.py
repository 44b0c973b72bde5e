"""Tables made from entities, and how a row becomes column values and comes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    false,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

from interlock.backends.sql.dialects import Dialect
from interlock.contract import Point, Record
from interlock.entities.audit import AUDIT
from interlock.entity import Entity, Kind

__all__ = ["TYPES", "EntityTable", "Schema", "column_type", "folded_name"]

_TEXT: Final[TypeEngine[Any]] = Text().with_variant(Text(collation="C"), "postgresql")

TYPES: Final = MappingProxyType[Kind, TypeEngine[Any]](
    {
        "id": _TEXT,
        "text": _TEXT,
        "choice": _TEXT,
        "int": BigInteger(),
        "float": Double(),
        "decimal": BigInteger().with_variant(Numeric(20, 4), "postgresql"),
        "bool": Boolean(create_constraint=False),
        "date": Text().with_variant(Date(), "postgresql"),
        "datetime": Text().with_variant(DateTime(timezone=True), "postgresql"),
        "texts": Text().with_variant(ARRAY(Text()), "postgresql"),
        "json": Text(),
    }
)
"""SQLite's type of each kind, with PostgreSQL's as a variant. A point is two columns of floats."""

_LOOKED_UP_ANYWHERE: Final = frozenset({"users", "credentials"})
"""Log-in knows an address, or a token's digest, and not yet the tenant."""

_ALWAYS_SET: Final = frozenset({"created_at", "updated_at", "version"})


def folded_name(field: str) -> str:
    """The hidden column that holds a folded unique value."""
    return f"_u_{field}"


def column_type(kind: Kind) -> TypeEngine[Any]:
    """The type of a column of this kind."""
    return TYPES[kind]


class EntityTable:
    """The table of one entity, and the way of its rows in and out for one dialect. Immutable."""

    def __init__(self, entity: Entity[Any], metadata: MetaData, dialect: Dialect) -> None:
        self.entity = entity
        self.table = _table(entity, metadata)
        self.plain = tuple(f for f in entity.fields.values() if f.kind != "point")
        self.points = tuple(f for f in entity.fields.values() if f.kind == "point")
        self.folded = tuple(u for u in entity.unique if u.folded)
        self._binders = tuple((i, bind) for i, f in enumerate(self.plain) if (bind := dialect.bind(f.kind)) is not None)
        self._readers = tuple((i, read) for i, f in enumerate(self.plain) if (read := dialect.read(f)) is not None)
        self._names = tuple(f.name for f in self.plain)
        self._get = attrgetter(*self._names)
        self.selected = tuple(dialect.selected(self.table.c[f.name], f.kind).label(f.name) for f in self.plain) + tuple(
            self.table.c[f"{f.name}_{axis}"] for f in self.points for axis in ("lat", "lon")
        )
        self.written = (
            *self._names,
            *(f"{f.name}_{axis}" for f in self.points for axis in ("lat", "lon")),
            *(("_search",) if entity.searchable else ()),
            *(folded_name(u.field) for u in self.folded),
        )

    def values(self, row: Record) -> list[Any]:
        """The driver's values of the columns `written`."""
        values = list(self._get(row))
        for i, bind in self._binders:
            if values[i] is not None:
                values[i] = bind(values[i])
        for field in self.points:
            point: Point | None = getattr(row, field.name)
            values += (None, None) if point is None else (point.lat, point.lon)
        if self.entity.searchable:
            values.append(self.entity.search_text(row))
        for unique in self.folded:
            values.append(self.entity.unique_value(unique, row))
        return values

    def row(self, values: Sequence[Any]) -> Record:
        """The record of the columns `selected`."""
        given = dict(zip(self._names, values, strict=False))
        for i, read in self._readers:
            if values[i] is not None:
                given[self._names[i]] = read(values[i])
        at = len(self._names)
        for field in self.points:
            lat, lon = values[at], values[at + 1]
            given[field.name] = None if lat is None else Point(lat, lon)
            at += 2
        found: Record = self.entity.record(**given)
        return found

    def rows(self, found: Iterable[Sequence[Any]]) -> tuple[Record, ...]:
        """All of them."""
        return tuple([self.row(values) for values in found])

    def unique_column(self, field: str) -> Column[Any]:
        """The column that a unique key compares."""
        name = folded_name(field)
        return self.table.c[name] if name in self.table.c else self.table.c[field]


def _columns(entity: Entity[Any]) -> list[Column[Any]]:
    columns: list[Column[Any]] = []
    for field in entity.fields.values():
        if field.kind == "point":
            columns += [Column(f"{field.name}_{axis}", Double(), nullable=True) for axis in ("lat", "lon")]
        else:
            key = field.name in ("id", "tenant_id")
            nullable = field.nullable and field.name not in _ALWAYS_SET
            columns.append(Column(field.name, TYPES[field.kind], primary_key=key, nullable=nullable))
    columns.append(Column("_seq", BigInteger(), nullable=False, server_default="0"))
    if entity.searchable:
        columns.append(Column("_search", _TEXT, nullable=False))
    columns += [Column(folded_name(u.field), _TEXT, nullable=True) for u in entity.unique if u.folded]
    if entity.resource == AUDIT.resource:
        columns.append(
            Column("_forwarded", Boolean(create_constraint=False), nullable=False, server_default=text("false"))
        )
    # The tenant comes first in the key, so that each tenant's rows lie together in it.
    return sorted(columns, key=lambda c: {"tenant_id": 0, "id": 1}.get(c.name, 2))


def _table(entity: Entity[Any], metadata: MetaData) -> Table:
    name = entity.resource
    table = Table(name, metadata, *_columns(entity))
    c = table.c
    Index(f"ix_{name}_recent", c.tenant_id, c.created_at.desc(), c.id)
    for reference in entity.references:
        Index(f"ix_{name}_{reference.field}", c.tenant_id, c[reference.field])
    for unique in entity.unique:
        column = c[folded_name(unique.field)] if unique.folded else c[unique.field]
        alive = c.deleted_at.is_(None)
        Index(f"uq_{name}_{unique.field}", c.tenant_id, column, unique=True, postgresql_where=alive, sqlite_where=alive)
        if name in _LOOKED_UP_ANYWHERE:
            Index(f"ix_{name}_{unique.field}_any", column)
    if entity.resource == AUDIT.resource:
        # Each as its own compiler writes the condition in a query: else the planner does not know it again.
        waiting, sqlite_waiting = c["_forwarded"].is_(false()), text("_forwarded IS 0")
        Index(f"ix_{name}_waiting", c.created_at, c.id, postgresql_where=waiting, sqlite_where=sqlite_waiting)
    return table


class Schema:
    """All tables: one for each entity (the audit trail's always among them), and Interlock's own four."""

    def __init__(self, entities: Iterable[Entity[Any]], dialect: Dialect) -> None:
        self.metadata = MetaData()
        found = {entity.resource: entity for entity in (*entities, AUDIT)}
        self.entities = MappingProxyType(
            {name: EntityTable(entity, self.metadata, dialect) for name, entity in found.items()}
        )
        self.audit = self.entities[AUDIT.resource]
        self.sequences = Table(
            "interlock_sequences",
            self.metadata,
            Column("tenant_id", _TEXT, primary_key=True),
            Column("resource", _TEXT, primary_key=True),
            Column("value", BigInteger(), nullable=False),
        )
        self.operations = Table(
            "interlock_operations",
            self.metadata,
            Column("tenant_id", _TEXT, primary_key=True),
            Column("operation_id", _TEXT, primary_key=True),
            Column("fingerprint", LargeBinary(), nullable=False),
            Column("outcomes", LargeBinary(), nullable=True),
            Column("at", TYPES["datetime"], nullable=False),
        )
        self.blobs = Table(
            "interlock_blobs",
            self.metadata,
            Column("tenant_id", _TEXT, primary_key=True),
            Column("file_id", _TEXT, primary_key=True),
            Column("upload_id", _TEXT, nullable=False),
            Column("size", BigInteger(), nullable=False),
            Column("sha256", _TEXT, nullable=False),
        )
        self.chunks = Table(
            "interlock_chunks",
            self.metadata,
            Column("upload_id", _TEXT, primary_key=True),
            Column("position", Integer(), primary_key=True),
            Column("bytes", LargeBinary(), nullable=False),
        )
