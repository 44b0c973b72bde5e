"""Reading: filters compiled to predicates, and the finding of one page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import islice
from math import asin, cos, radians, sin, sqrt
from operator import attrgetter
from typing import Any, Final

from interlock.backends.memory.table import DEFAULT_ORDER, Table, default_key, sort_rows
from interlock.contract import Condition, Deleted, Filter, Group, Near, Query, Record, Response, Sort
from interlock.entity import fold
from interlock.paging import decode_cursor, encode_cursor, full_order

__all__ = ["find", "matching"]

EARTH_RADIUS_KM: Final = 6371.0088

Predicate = Callable[[Any], bool]


def matching(table: Table, query: Query, rows: Iterable[Record]) -> Iterable[Record]:
    """Those of the rows that `where`, `search` and `deleted` let through, in the order given."""
    if query.deleted == "without":
        rows = (row for row in rows if row.deleted_at is None)
    elif query.deleted == "only":
        rows = (row for row in rows if row.deleted_at is not None)
    if query.where is not None:
        rows = filter(_predicate(query.where), rows)
    if query.search:
        wanted, text = fold(query.search), table.text
        rows = (row for row in rows if wanted in text(row))
    return rows


def find(table: Table, query: Query) -> Response:
    """One page, with its total where it was asked for and a cursor where more rows follow."""
    if query.near is not None:
        return _find_near(table, query, query.near)
    order = full_order(query)
    selective = query.where is not None or bool(query.search)
    if selective and order != DEFAULT_ORDER and table.kept_order(order) is None:
        found = list(matching(table, query, table.rows.values()))
        sort_rows(found, order)
        start = 0 if query.cursor is None else _seek(table, order, query.cursor, found)
        total = None if query.count == "none" else len(found)
        return _page(query, order, found[start:], total)
    total = None if query.count == "none" else _count(table, query, selective)
    if order == DEFAULT_ORDER:
        keys = table.newest_keys()
        start = 0 if query.cursor is None else _seek_newest(table, query.cursor)
        if _everything(table, query, selective):
            start += query.offset
            page = tuple([table.rows[key] for _, key in keys[start : start + query.limit + 1]])
            return _paged(query, order, page, total)
        ordered: Iterable[Record] = (table.rows[key] for _, key in islice(keys, start, None))
    else:
        rows = table.ordered(order)
        start = 0 if query.cursor is None else _seek(table, order, query.cursor, rows)
        if _everything(table, query, selective):
            start += query.offset
            return _paged(query, order, tuple(rows[start : start + query.limit + 1]), total)
        ordered = islice(rows, start, None)
    return _page(query, order, matching(table, query, ordered), total)


def _everything(table: Table, query: Query, selective: bool) -> bool:
    """True where every row matches: then a page is a slice, and no row before it is looked at."""
    if selective or query.deleted == "only":
        return False
    return query.deleted == "with" or table.undeleted == len(table.rows)


def _count(table: Table, query: Query, selective: bool) -> int:
    if selective:
        return sum(1 for _ in matching(table, query, table.rows.values()))
    counts: dict[Deleted, int] = {
        "without": table.undeleted,
        "with": len(table.rows),
        "only": len(table.rows) - table.undeleted,
    }
    return counts[query.deleted]


def _page(query: Query, order: tuple[Sort, ...], rows: Iterable[Record], total: int | None) -> Response:
    page = tuple(islice(rows, query.offset, query.offset + query.limit + 1))
    return _paged(query, order, page, total)


def _paged(query: Query, order: tuple[Sort, ...], page: tuple[Record, ...], total: int | None) -> Response:
    """The answer, from a page with one row more where there is one."""
    if len(page) <= query.limit:
        return Response(rows=page, total=total)
    page = page[: query.limit]
    return Response(rows=page, total=total, next_cursor=encode_cursor(order, page[-1]))


def _seek_newest(table: Table, cursor: str) -> int:
    """Where the keys after the cursor's place begin."""
    created_at, row_id = decode_cursor(table.entity, DEFAULT_ORDER, cursor).values
    return bisect_right(table.newest_keys(), default_key(created_at, row_id))


def _seek(table: Table, order: tuple[Sort, ...], cursor: str, rows: list[Record]) -> int:
    """Where the rows after the cursor's place begin."""
    place = decode_cursor(table.entity, order, cursor)
    return bisect_left(rows, True, key=_comes_after(order, place.values))


def _comes_after(order: tuple[Sort, ...], values: tuple[Any, ...]) -> Predicate:
    steps = [(attrgetter(sort.field), sort.descending, value) for sort, value in zip(order, values, strict=True)]

    def comes_after(row: Any) -> bool:
        for get, descending, place in steps:
            value = get(row)
            if value == place:
                continue
            if value is None or place is None:
                return value is None
            return bool(value < place) if descending else bool(value > place)
        return False

    return comes_after


def _find_near(table: Table, query: Query, near: Near) -> Response:
    location = attrgetter(table.entity.location or "id")
    found = []
    for row in matching(table, query, table.rows.values()):
        point = location(row)
        if point is not None and (distance := _distance(near.lat, near.lon, point.lat, point.lon)) <= near.km:
            found.append((distance, row.id, row))
    found.sort()
    page = tuple(row for _, _, row in found[query.offset : query.offset + query.limit])
    return Response(rows=page, total=None if query.count == "none" else len(found))


def _distance(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """The great circle in kilometres (haversine)."""
    phi, other_phi = radians(lat), radians(other_lat)
    a = sin((other_phi - phi) / 2) ** 2 + cos(phi) * cos(other_phi) * sin((radians(other_lon) - radians(lon)) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * asin(min(1.0, sqrt(a)))


def _predicate(where: Filter) -> Predicate:
    return _group(where) if isinstance(where, Group) else _condition(where)


def _group(group: Group) -> Predicate:
    items = [_predicate(item) for item in group.items]
    if len(items) == 1:
        return items[0]
    if group.op == "and":
        return lambda row: all(item(row) for item in items)
    return lambda row: any(item(row) for item in items)


def _condition(where: Condition) -> Predicate:
    """One comparison as a function of a row. A null matches none but `is_null`."""
    get = attrgetter(where.field)
    value = where.value
    if where.op == "is_null":
        return (lambda row: get(row) is None) if value else (lambda row: get(row) is not None)
    if where.op == "eq":
        return lambda row: bool(get(row) == value)
    if where.op == "in":
        members = frozenset(value)
        return lambda row: get(row) in members
    known = _comparisons(value, where.op)
    return lambda row: (found := get(row)) is not None and known(found)


def _comparisons(value: Any, op: str) -> Predicate:
    """The operators that need a value that is not null."""
    if op == "nin":
        members = frozenset(value)
        return lambda found: found not in members
    if op == "between":
        low, high = value
        return lambda found: bool(low <= found <= high)
    return {
        "ne": lambda found: bool(found != value),
        "lt": lambda found: bool(found < value),
        "lte": lambda found: bool(found <= value),
        "gt": lambda found: bool(found > value),
        "gte": lambda found: bool(found >= value),
        "contains": lambda found: value in found,
        "startswith": lambda found: bool(found.startswith(value)),
    }[op]
