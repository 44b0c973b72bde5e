"""Statements, written with SQLAlchemy Core, compiled once for each shape, and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    and_,
    bindparam,
    false,
    func,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.sql.elements import ClauseElement

from interlock.backends.sql.dialects import Dialect
from interlock.backends.sql.shapes import Leaf, Node, Shape
from interlock.backends.sql.tables import TYPES, EntityTable
from interlock.contract import Aggregate, Deleted, GroupBy, Measure
from interlock.entity import Field

__all__ = ["Statement", "Statements", "compiled", "measures_of"]

_KEPT: Final = 500


class Statement(NamedTuple):
    """SQL in the driver's own style, the names of its parameters in their order, and those whose values are part of it."""

    sql: str
    names: tuple[str, ...]
    constants: Mapping[str, Any]

    def values(self, given: Mapping[str, Any]) -> Sequence[Any]:
        """The values in order."""
        if self.constants:
            given = {**given, **self.constants}
        return [given[name] for name in self.names]


def compiled(statement: ClauseElement, dialect: Dialect) -> Statement:
    """The statement as the dialect's driver takes it."""
    done: Any = statement.compile(dialect=dialect.compiler)
    constants = {name: value for name, value in done.params.items() if value is not None}
    return Statement(str(done), tuple(done.positiontup or ()), constants)


class Statements:
    """The reads of one entity table. Keeps the statements used last."""

    def __init__(self, table: EntityTable, dialect: Dialect) -> None:
        self._of = table
        self._c = table.table.c
        self._dialect = dialect
        entity = table.entity
        self._indexed = {"id", *(r.field for r in entity.references), *(u.field for u in entity.unique)}
        self._kept: OrderedDict[tuple[str, Shape], Statement] = OrderedDict()
        self._gets: dict[Deleted, Statement] = {}

    def get(self, deleted: Deleted) -> Statement:
        """The rows of some ids, in no order."""
        found = self._gets.get(deleted)
        if found is None:
            named = self._dialect.in_list(self._c.id, "ids", TYPES["id"])
            rows = select(*self._of.selected).where(
                self._c.tenant_id == bindparam("tenant"), named, *self._alive(deleted)
            )
            found = self._gets[deleted] = compiled(rows, self._dialect)
        return found

    def _alive(self, deleted: Deleted) -> list[ColumnElement[bool]]:
        gone = self._c.deleted_at
        return [] if deleted == "with" else [gone.is_(None) if deleted == "without" else gone.is_not(None)]

    def find(self, shape: Shape) -> Statement:
        """Rows in order, from `offset`, at most `limit`."""
        return self._keep("find", shape)

    def count(self, shape: Shape) -> Statement:
        """How many rows match, wherever a cursor stands."""
        return self._keep("count", shape._replace(cursor=None, order=()))

    def aggregate(self, shape: Shape) -> Statement:
        """Groups in order, with their measures."""
        return self._keep("aggregate", shape)

    def _keep(self, what: str, shape: Shape) -> Statement:
        key = (what, shape)
        found = self._kept.get(key)
        if found is None:
            build = {"find": self._find, "count": self._count, "aggregate": self._aggregate}[what]
            found = self._kept[key] = compiled(build(shape), self._dialect)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return found

    def _find(self, shape: Shape) -> ClauseElement:
        order: list[ColumnElement[Any]] = []
        distance = self._distance() if shape.near else None
        if distance is not None:
            order = [distance, self._c.id]
        else:
            by_index = self._selective(shape.where)
            for name, descending in shape.order:
                column = self._c[name]
                sorted_by = self._dialect.sorted_last(column) if by_index else column
                key: ColumnElement[Any] = sorted_by.desc() if descending else sorted_by.asc()
                order.append(key.nulls_last() if column.nullable else key)
        where = [*self._matching(shape, distance), *self._after(shape)]
        found = select(*self._of.selected).where(*where).order_by(*order)
        return found.limit(bindparam("limit", type_=BigInteger())).offset(bindparam("offset", type_=BigInteger()))

    def _selective(self, where: Leaf | Node | None) -> bool:
        """True where a condition names few rows, and an index finds them."""
        if isinstance(where, Leaf):
            return where.op in ("eq", "in") and where.field in self._indexed
        return where is not None and where.op == "and" and any(self._selective(item) for item in where.items)

    def _count(self, shape: Shape) -> ClauseElement:
        matching = self._matching(shape, self._distance() if shape.near else None)
        return select(func.count()).select_from(self._of.table).where(*matching)

    def _aggregate(self, shape: Shape) -> ClauseElement:
        asked = shape.aggregate or Aggregate()
        keys = [self._group(group).label(f"k{i}") for i, group in enumerate(asked.group_by)]
        measures: list[ColumnElement[Any]] = []
        for measure in asked.measures:
            measures += measures_of(self._of, self._dialect, measure)
        labelled = [m.label(f"m{i}") for i, m in enumerate(measures)]
        matching = self._matching(shape, self._distance() if shape.near else None)
        found = select(*keys, *labelled).select_from(self._of.table).where(*matching)
        return found.group_by(*keys).order_by(*(k.nulls_last() for k in keys)) if keys else found

    def _group(self, group: GroupBy) -> ColumnElement[Any]:
        field = self._of.entity.fields[group.field]
        column = self._c[group.field]
        if group.bucket is not None:
            return self._dialect.bucket(column, field.kind, group.bucket)
        return self._dialect.selected(column, field.kind)

    def _distance(self) -> ColumnElement[float]:
        location = self._of.entity.location
        return self._dialect.distance(self._c[f"{location}_lat"], self._c[f"{location}_lon"])

    def _matching(self, shape: Shape, distance: ColumnElement[float] | None) -> list[ColumnElement[bool]]:
        where: list[ColumnElement[bool]] = [self._c.tenant_id == bindparam("tenant"), *self._alive(shape.deleted)]
        if shape.where is not None:
            where.append(self._filter(shape.where))
        if shape.search:
            where.append(self._dialect.search(self._c["_search"], "search"))
        if distance is not None:
            lat = self._c[f"{self._of.entity.location}_lat"]
            south, north, km = (_kilometre_bound(name) for name in ("near_south", "near_north", "near_km"))
            where += [lat >= south, lat <= north, distance <= km]
        return where

    def _filter(self, node: Leaf | Node) -> ColumnElement[bool]:
        if isinstance(node, Leaf):
            return self._leaf(node)
        items = [self._filter(item) for item in node.items]
        if not items:
            return true() if node.op == "and" else false()
        return and_(*items) if node.op == "and" else or_(*items)

    def _leaf(self, leaf: Leaf) -> ColumnElement[bool]:
        field = self._of.entity.fields[leaf.field]
        if leaf.op == "is_null":
            column = self._c[f"{leaf.field}_lat"] if field.kind == "point" else self._c[leaf.field]
            return column.is_(None) if leaf.flag else column.is_not(None)
        column, param = self._c[leaf.field], f"p{leaf.first}"
        if leaf.folded >= 0:
            folded = self._of.unique_column(leaf.field)
            exact, quick = self._leaf(leaf._replace(folded=-1)), f"p{leaf.folded}"
            is_one_of = self._dialect.in_list(folded, quick, folded.type)
            return and_(exact, is_one_of if leaf.op == "in" else folded == bindparam(quick))
        if field.kind == "texts":
            return self._dialect.has_element(column, param)
        match leaf.op:
            case "contains":
                return self._dialect.contains(column, param)
            case "startswith":
                return self._dialect.startswith(column, param)
            case "in":
                return self._dialect.in_list(column, param, TYPES[field.kind])
            case "nin":
                return and_(column.is_not(None), not_(self._dialect.in_list(column, param, TYPES[field.kind])))
            case "between":
                return and_(column >= self._bound(param, field), column <= self._bound(f"p{leaf.first + 1}", field))
            case _:
                return _compare(column, leaf.op, self._bound(param, field))

    def _bound(self, param: str, field: Field) -> ColumnElement[Any]:
        return bindparam(param, type_=TYPES[field.kind])

    def _after(self, shape: Shape) -> list[ColumnElement[bool]]:
        """The rows behind the cursor's place, nulls last: equal in the first keys and behind in the next, for each key."""
        if shape.cursor is None:
            return []
        arms: list[ColumnElement[bool]] = []
        equal: list[ColumnElement[bool]] = []
        for at, ((name, descending), present) in enumerate(zip(shape.order, shape.cursor, strict=True)):
            column = self._c[name]
            value = self._bound(f"c{at}", self._of.entity.fields[name])
            if present:
                behind = column < value if descending else column > value
                arms.append(and_(*equal, or_(behind, column.is_(None)) if column.nullable else behind))
                equal.append(column == value)
            else:
                equal.append(column.is_(None))
        found = [or_(*arms) if arms else false()]
        name, descending = shape.order[0]
        if shape.cursor[0] and not self._c[name].nullable:
            # Says nothing new; it lets the index begin at the place instead of at the first row.
            value = self._bound("c0", self._of.entity.fields[name])
            found.append(self._c[name] <= value if descending else self._c[name] >= value)
        return found


def measures_of(table: EntityTable, dialect: Dialect, measure: Measure) -> tuple[ColumnElement[Any], ...]:
    """The columns of one measure."""
    if measure.field is None:
        return (func.count(),)
    return dialect.measure(measure.op, table.table.c[measure.field], table.entity.fields[measure.field].kind)


def _kilometre_bound(name: str) -> ColumnElement[float]:
    return bindparam(name, type_=Double())


def _compare(column: ColumnElement[Any], op: str, value: ColumnElement[Any]) -> ColumnElement[bool]:
    match op:
        case "eq":
            return column == value
        case "ne":
            return column != value
        case "lt":
            return column < value
        case "lte":
            return column <= value
        case "gt":
            return column > value
        case _:
            return column >= value
