"""A query taken apart: its shape, which decides the SQL and is the key of the compiled statement, and its values, which are bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from interlock.backends.sql.dialects import Dialect
from interlock.contract import Aggregate, Condition, Deleted, Filter, Group, Near, Query
from interlock.entity import Entity, Kind, fold
from interlock.paging import decode_cursor, full_order

__all__ = ["Leaf", "Node", "Parts", "Shape", "take_apart"]


class Leaf(NamedTuple):
    """One comparison; its values are bound as `p<first>`, and for `between` also `p<first + 1>`.

    `folded` is the parameter with the folded value, where the field's unique index holds folded values and can find it so.
    """

    field: str
    op: str
    first: int
    flag: bool = False
    folded: int = -1


class Node(NamedTuple):
    """All (`and`) or any (`or`) of its items."""

    op: str
    items: tuple[Any, ...]


class Shape(NamedTuple):
    """What decides the SQL of a find, a count or an aggregate. `cursor` says which of the place's values are there."""

    where: Leaf | Node | None
    search: bool
    deleted: Deleted
    near: bool
    order: tuple[tuple[str, bool], ...]
    cursor: tuple[bool, ...] | None
    aggregate: Aggregate | None = None


class Parts(NamedTuple):
    """A shape and the values of its parameters, by name."""

    shape: Shape
    values: dict[str, Any]


_PLAIN_TEXT: Final = frozenset({"contains", "startswith"})


class _Apart:
    def __init__(self, entity: Entity[Any], dialect: Dialect) -> None:
        self._fields = entity.fields
        self._folded = frozenset(u.field for u in entity.unique if u.folded)
        self._dialect = dialect
        self.values: dict[str, Any] = {}
        self._count = 0

    def add(self, kind: Kind, value: Any) -> int:
        bind = self._dialect.bind(kind)
        return self.put(value if bind is None or value is None else bind(value))

    def put(self, value: Any) -> int:
        at = self._count
        self._count += 1
        self.values[f"p{at}"] = value
        return at

    def filter(self, where: Filter) -> Leaf | Node:
        if isinstance(where, Group):
            return Node(where.op, tuple([self.filter(item) for item in where.items]))
        return self.leaf(where)

    def leaf(self, where: Condition) -> Leaf:
        kind = self._fields[where.field].kind
        if where.op == "is_null":
            return Leaf(where.field, "is_null", -1, bool(where.value))
        if where.op in ("in", "nin"):
            bind: Callable[[Any], Any] | None = self._dialect.bind(kind)
            items = [bind(v) for v in where.value] if bind is not None else list(where.value)
            first, folded = self.put(self._dialect.list_value(items)), -1
            if where.op == "in" and where.field in self._folded:
                folded = self.put(self._dialect.list_value([fold(v) for v in where.value]))
            return Leaf(where.field, where.op, first, folded=folded)
        if where.op == "between":
            low, high = where.value
            first = self.add(kind, low)
            self.add(kind, high)
            return Leaf(where.field, "between", first)
        if where.op in _PLAIN_TEXT:
            return Leaf(where.field, where.op, self.put(where.value))
        first, folded = self.add(kind, where.value), -1
        if where.op == "eq" and where.field in self._folded:
            folded = self.put(fold(where.value))
        return Leaf(where.field, where.op, first, folded=folded)


def take_apart(
    entity: Entity[Any], dialect: Dialect, tenant_id: str, query: Query, aggregate: Aggregate | None = None
) -> Parts:
    """The shape and values of a checked query. Raises `Invalid` for a cursor that does not belong to it."""
    apart = _Apart(entity, dialect)
    where = None if query.where is None else apart.filter(query.where)
    values = apart.values
    values["tenant"] = tenant_id
    if query.search is not None:
        values["search"] = dialect.search_value(fold(query.search))
    if query.near is not None:
        _add_near(values, query.near)
    order = () if aggregate is not None else full_order(query)
    present = None
    if query.cursor is not None and aggregate is None:
        place = decode_cursor(entity, order, query.cursor)
        present = tuple(value is not None for value in place.values)
        for at, (sort, value) in enumerate(zip(order, place.values, strict=True)):
            bind = dialect.bind(entity.fields[sort.field].kind)
            if value is not None:
                values[f"c{at}"] = bind(value) if bind is not None else value
    shape = Shape(
        where,
        query.search is not None,
        query.deleted,
        query.near is not None,
        tuple([(s.field, s.descending) for s in order]),
        present,
        aggregate,
    )
    return Parts(shape, values)


def _add_near(values: dict[str, Any], near: Near) -> None:
    # A degree of latitude is nowhere shorter than 111.19 km on the sphere; the slack keeps what rounding would lose.
    degrees = near.km / 111.19 + 1e-6
    values["near_lat"], values["near_lon"], values["near_km"] = float(near.lat), float(near.lon), float(near.km)
    values["near_south"], values["near_north"] = near.lat - degrees, near.lat + degrees
