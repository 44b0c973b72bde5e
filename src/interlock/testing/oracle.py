"""What a query means, written as plainly as can be, to hold backends against.

It knows one row at a time and nothing of any backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cmp_to_key
from typing import Any

from interlock.contract import Condition, Filter, Group, Query, Record, Sort
from interlock.entity import Entity, fold

__all__ = ["expected", "holds", "in_order"]


def holds(where: Filter, row: Record) -> bool:
    """True where the row satisfies the filter."""
    if isinstance(where, Group):
        return (all if where.op == "and" else any)(holds(item, row) for item in where.items)
    return _condition(where, getattr(row, where.field))


def _condition(where: Condition, found: Any) -> bool:
    asked = where.value
    if where.op == "is_null":
        return (found is None) is asked
    if found is None:
        return False
    match where.op:
        case "eq":
            return bool(found == asked)
        case "ne":
            return bool(found != asked)
        case "lt":
            return bool(found < asked)
        case "lte":
            return bool(found <= asked)
        case "gt":
            return bool(found > asked)
        case "gte":
            return bool(found >= asked)
        case "in":
            return found in asked
        case "nin":
            return found not in asked
        case "contains":
            return asked in found
        case "startswith":
            return bool(found.startswith(asked))
        case "between":
            return bool(asked[0] <= found <= asked[1])


def _searched(entity: Entity[Any], search: str, row: Record) -> bool:
    return any(fold(search) in fold(getattr(row, name) or "") for name in entity.searchable)


def in_order(rows: Iterable[Record], sort: tuple[Sort, ...]) -> list[Record]:
    """The rows in the order of a query's sort: nulls last either way, ties by id."""
    keys = sort or (Sort("created_at", descending=True),)

    def compare(one: Record, other: Record) -> int:
        for key in (*keys, Sort("id")):
            a, b = getattr(one, key.field), getattr(other, key.field)
            if a == b:
                continue
            if a is None or b is None:
                return 1 if a is None else -1
            return (-1 if a < b else 1) * (-1 if key.descending else 1)
        return 0

    return sorted(rows, key=cmp_to_key(compare))


def expected(entity: Entity[Any], rows: Iterable[Record], query: Query) -> list[Record]:
    """All rows that the query finds, in order, without regard to its page."""
    found = [
        row
        for row in rows
        if (query.deleted == "with" or (row.deleted_at is None) == (query.deleted == "without"))
        and (query.where is None or holds(query.where, row))
        and (query.search is None or _searched(entity, query.search, row))
    ]
    return in_order(found, query.sort)
