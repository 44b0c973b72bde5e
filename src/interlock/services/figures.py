"""Aggregates for every backend: computed there where it can, else here from all rows, with the same result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from interlock.contract import Aggregate, Filter, GroupBy, GroupRow, Measure, Record
from interlock.errors import Unsupported
from interlock.services.base import EntityService

__all__ = ["Figures", "figures"]

R = TypeVar("R", bound=Record)

COUNT = Measure("count")


async def figures(
    service: EntityService[R],
    group_by: Sequence[GroupBy | str] = (),
    measures: Sequence[Measure] = (COUNT,),
    where: Filter | None = None,
    **filters: Any,
) -> tuple[GroupRow, ...]:
    """What `service.aggregate` answers; where the backend has no aggregates, all rows are read and the same is computed here."""
    try:
        return await service.aggregate(group_by, measures, where, **filters)
    except Unsupported:
        groups = tuple(GroupBy(group) if isinstance(group, str) else group for group in group_by)
        computed = Figures(Aggregate(groups, tuple(measures)))
        async for row in service.iterate(where, **filters):
            computed.add(row)
        return computed.rows()


class Figures:
    """The reference computation of an aggregate, row by row, in memory of the size of the answer."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self._groups: dict[tuple[Any, ...], list[Any]] = {}

    def add(self, row: Record) -> None:
        """Count one row in."""
        key = tuple(_key(row, group) for group in self._aggregate.group_by)
        values = self._groups.get(key)
        if values is None:
            values = self._groups[key] = _empty(self._aggregate.measures)
        for place, measure in enumerate(self._aggregate.measures):
            values[place] = _taken(measure, values[place], row)

    def rows(self) -> tuple[GroupRow, ...]:
        """The groups in the order of their keys, nulls last; without `group_by` exactly one."""
        if not self._aggregate.group_by and not self._groups:
            return (GroupRow((), tuple(_empty(self._aggregate.measures))),)
        ordered: Iterable[tuple[tuple[Any, ...], list[Any]]] = sorted(
            self._groups.items(), key=lambda item: [(part is None, 0 if part is None else part) for part in item[0]]
        )
        return tuple(GroupRow(key, tuple(values)) for key, values in ordered)


def _empty(measures: Iterable[Measure]) -> list[Any]:
    return [0 if measure.op == "count" else None for measure in measures]


def _key(row: Record, group: GroupBy) -> Any:
    value = getattr(row, group.field)
    if group.bucket is None or value is None:
        return value
    return value.isoformat()[: {"day": 10, "month": 7, "year": 4}[group.bucket]]


def _taken(measure: Measure, so_far: Any, row: Record) -> Any:
    if measure.op == "count":
        return so_far + 1
    value = getattr(row, measure.field or "")
    if value is None:
        return so_far
    if so_far is None:
        return value
    if measure.op == "sum":
        return so_far + value
    return min(so_far, value) if measure.op == "min" else max(so_far, value)
