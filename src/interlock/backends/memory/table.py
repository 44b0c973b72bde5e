"""The rows of one resource of one tenant, with the indexes that keep reading cheap."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from interlock.backends.memory.feed import Feed
from interlock.contract import Record, Sort
from interlock.entity import Entity, Unique

__all__ = ["DEFAULT_ORDER", "Table", "default_key", "sort_rows"]

DEFAULT_ORDER: Final = (Sort("created_at", descending=True), Sort("id"))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FEW = 32
_KEPT_ORDERS = 8

Key = tuple[float, str]


def default_key(created_at: datetime | None, id: str) -> Key:
    """Sorts as the default order does: the newest first, no time last, then by id."""
    return (float("inf") if created_at is None else -((created_at - _EPOCH) // _MICROSECOND), id)


def sort_rows(rows: list[Any], order: tuple[Sort, ...]) -> None:
    """Sort in place: stable passes from the last key to the first, nulls last in both directions."""
    for sort in reversed(order):
        rows.sort(key=_key(sort.field, sort.descending), reverse=sort.descending)


def _key(field: str, descending: bool) -> Callable[[Any], Any]:
    get = attrgetter(field)

    def key(row: Any) -> tuple[bool, Any]:
        value = get(row)
        return ((value is None) is not descending, 0 if value is None else value)

    return key


class _NewestFirst:
    """All rows' default keys, kept sorted: few new ones are inserted, many are sorted in at the next read."""

    def __init__(self) -> None:
        self._sorted: list[Key] = []
        self._new: list[Key] = []

    def add(self, key: Key) -> None:
        self._new.append(key)

    def remove(self, key: Key) -> None:
        keys = self.keys()
        del keys[bisect_left(keys, key)]

    def keys(self) -> list[Key]:
        if self._new:
            if len(self._new) <= _FEW:
                for key in self._new:
                    insort(self._sorted, key)
            else:
                self._sorted.extend(self._new)
                self._sorted.sort()
            self._new.clear()
        return self._sorted


class Table:
    """Rows by id, deleted ones included, and what is derived from them. `store` is the only way in."""

    def __init__(self, entity: Entity[Any]) -> None:
        self.entity = entity
        self.rows: dict[str, Record] = {}
        self.sequences: dict[str, int] = {}
        self.last_number = 0
        self.feed = Feed(entity.resource)
        self.undeleted = 0
        self._texts: dict[str, str] = {}
        self._holders: dict[Unique, dict[Any, str]] = {unique: {} for unique in entity.unique}
        self._newest = _NewestFirst()
        self._orders: dict[tuple[Sort, ...], list[Record]] = {}

    def store(self, before: Record | None, after: Record) -> None:
        """Replace `before`, which is the stored row or None, by `after`."""
        if before is None:
            self._newest.add(default_key(after.created_at, after.id))
        else:
            if before.created_at != after.created_at:
                self._newest.remove(default_key(before.created_at, before.id))
                self._newest.add(default_key(after.created_at, after.id))
            if before.deleted_at is None:
                self.undeleted -= 1
                self._release(before)
        self.rows[after.id] = after
        if after.deleted_at is None:
            self.undeleted += 1
            self._hold(after)
        if self.entity.sequence is not None:
            self.last_number = max(self.last_number, getattr(after, self.entity.sequence))
        self._texts.pop(after.id, None)
        self._orders.clear()

    def _release(self, row: Record) -> None:
        for unique, holders in self._holders.items():
            holders.pop(self.entity.unique_value(unique, row), None)

    def _hold(self, row: Record) -> None:
        for unique, holders in self._holders.items():
            value = self.entity.unique_value(unique, row)
            if value is not None:
                holders[value] = row.id

    def clash(self, row: Record) -> tuple[str, str] | None:
        """The unique field that another undeleted row holds the value of, and that row's id."""
        for unique, holders in self._holders.items():
            holder = holders.get(self.entity.unique_value(unique, row))
            if holder is not None and holder != row.id:
                return unique.field, holder
        return None

    def holder(self, unique: Unique, value: Any) -> Record | None:
        """The undeleted row that has this unique value (already folded where the key is)."""
        held = self._holders[unique].get(value)
        return None if held is None else self.rows[held]

    def text(self, row: Record) -> str:
        """The folded text that search looks into."""
        text = self._texts.get(row.id)
        if text is None:
            text = self._texts[row.id] = self.entity.search_text(row)
        return text

    def newest_keys(self) -> list[Key]:
        """The default keys of all rows, in the default order."""
        return self._newest.keys()

    def kept_order(self, order: tuple[Sort, ...]) -> list[Record] | None:
        """All rows in an order, if they have been sorted so since the last write."""
        return self._orders.get(order)

    def ordered(self, order: tuple[Sort, ...]) -> list[Record]:
        """All rows in an order; sorted once, until the next write."""
        rows = self._orders.get(order)
        if rows is None:
            rows = list(self.rows.values())
            sort_rows(rows, order)
            while len(self._orders) >= _KEPT_ORDERS:
                del self._orders[next(iter(self._orders))]
            self._orders[order] = rows
        return rows
