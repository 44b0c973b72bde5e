"""Which ids and unique values are in use, as one write sees it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from interlock.backends.sql.tables import EntityTable
from interlock.contract import Record
from interlock.errors import Duplicate

__all__ = ["Taken"]


class Taken:
    """What the database said is in use, and what this call has accepted since."""

    def __init__(self, of: EntityTable, rows: Iterable[Sequence[Any]]) -> None:
        self._of = of
        self.ids: set[str] = set()
        self._holders: dict[tuple[str, Any], str] = {}
        for record_id, alive, *values in rows:
            self.ids.add(record_id)
            if alive:
                for unique, value in zip(of.entity.unique, values, strict=True):
                    self._holders.setdefault((unique.field, value), record_id)

    def in_the_way(self, row: Record) -> Duplicate | None:
        """The error for a row that wants what another has."""
        for unique in self._of.entity.unique:
            value = self._of.entity.unique_value(unique, row)
            holder = None if value is None else self._holders.get((unique.field, value))
            if holder is not None and holder != row.id:
                return Duplicate(self._of.entity.resource, unique.field, holder)
        return None

    def accept(self, before: Record | None, after: Record) -> None:
        """The row has its values from now on, and has left its old ones."""
        self.ids.add(after.id)
        for unique in self._of.entity.unique:
            if before is not None:
                old = (unique.field, self._of.entity.unique_value(unique, before))
                if self._holders.get(old) == after.id:
                    del self._holders[old]
            value = self._of.entity.unique_value(unique, after)
            if value is not None and after.deleted_at is None:
                self._holders[unique.field, value] = after.id
