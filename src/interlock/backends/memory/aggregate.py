"""Groups and measures over the rows that match."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal, localcontext
from math import fsum
from operator import attrgetter
from typing import Any, Final

from interlock.contract import Aggregate, GroupBy, GroupRow, Measure, Record

__all__ = ["grouped"]

_BUCKETS: Final = {"day": 10, "month": 7, "year": 4}
_DIGITS: Final = 100


def grouped(rows: Iterable[Record], aggregate: Aggregate) -> tuple[GroupRow, ...]:
    """One row per group, ordered by key with nulls last; without groups exactly one, even of no rows."""
    keys = [_key(group) for group in aggregate.group_by]
    members: dict[tuple[Any, ...], list[Record]] = {} if keys else {(): []}
    for row in rows:
        members.setdefault(tuple(key(row) for key in keys), []).append(row)
    ordered = sorted(members, key=lambda key: tuple((part is None, 0 if part is None else part) for part in key))
    return tuple(
        GroupRow(key, tuple(_measure(measure, members[key]) for measure in aggregate.measures)) for key in ordered
    )


def _key(group: GroupBy) -> Callable[[Any], Any]:
    get = attrgetter(group.field)
    if group.bucket is None:
        return get
    length = _BUCKETS[group.bucket]

    def bucket(row: Any) -> str | None:
        value: date | datetime | None = get(row)
        return None if value is None else value.isoformat()[:length]

    return bucket


def _measure(measure: Measure, rows: Sequence[Record]) -> Any:
    if measure.field is None:
        return len(rows)
    get = attrgetter(measure.field)
    values = [value for row in rows if (value := get(row)) is not None]
    if not values:
        return None
    if measure.op == "min":
        return min(values)
    return max(values) if measure.op == "max" else _sum(values)


def _sum(values: Sequence[Any]) -> Any:
    if isinstance(values[0], float):
        return fsum(values)
    with localcontext() as context:
        context.prec = _DIGITS  # the default of 28 digits would round a large sum
        return sum(values, start=Decimal(0)) if isinstance(values[0], Decimal) else sum(values)
