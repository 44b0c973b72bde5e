"""Rows from PostgREST's JSON and back: selected under their wire names, so that the bytes become typed records in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from interlock.contract import SERVER_OWNED, Point, Record
from interlock.entity import Entity
from interlock.errors import Unavailable

__all__ = ["UNREADABLE", "Codec"]

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises where a reply is not what it should be."""


class _Page(msgspec.Struct):
    rows: msgspec.Raw
    total: int | None = None


_page = msgspec.json.Decoder(_Page)


class Codec:
    """One entity's rows. Immutable."""

    def __init__(self, entity: Entity[Any]) -> None:
        self.entity = entity
        self.select = ",".join(_selected(field.wire, field.name, field.kind) for field in entity.fields.values())
        self.columns = {field.wire: field.name for field in entity.fields.values()}
        self._rows = msgspec.json.Decoder(tuple[entity.record, ...])  # type: ignore[name-defined]  # a type made while running
        self._written = tuple(
            name
            for name, field in entity.fields.items()
            if name not in SERVER_OWNED and not (field.server_owned and name == entity.sequence)
        )
        self.written = ",".join(self._written)
        self._all = tuple(entity.fields)
        self.current = msgspec.json.Decoder(entity.record | None).decode
        self._images = msgspec.json.Decoder(list[_shadow(entity)])  # type: ignore[misc]  # a type made while running

    def rows(self, body: bytes) -> tuple[Any, ...]:
        """The records of a reply. Raises `Unavailable` for one that holds something else."""
        try:
            return self._rows.decode(body)
        except UNREADABLE as error:
            raise Unavailable("supabase answered rows that are not of this version; compare its migrations") from error

    def page(self, body: bytes) -> tuple[tuple[Any, ...], int | None]:
        """The records, and how many there are in all, of a function that answers {"rows", "total"}. Raises `Unavailable`."""
        try:
            page = _page.decode(body)
        except UNREADABLE as error:
            raise Unavailable("supabase answered no page of rows; compare its migrations") from error
        return self.rows(bytes(page.rows)), page.total

    def images(self, body: bytes) -> tuple[Any, ...]:
        """The records of images that a trigger kept: under the columns' names, places as JSON."""
        try:
            found = self._images.decode(body)
        except UNREADABLE as error:
            raise Unavailable("supabase kept rows that are not of this version; compare its migrations") from error
        return tuple(msgspec.convert(row, self.entity.record, from_attributes=True) for row in found)

    def create(self, rows: Sequence[Record]) -> bytes:
        """Rows to create, under the columns' names, without what the database sets."""
        return _encode([{name: _bound(getattr(row, name)) for name in self._written} for row in rows])

    def exact(self, rows: Sequence[Record]) -> list[dict[str, Any]]:
        """Whole images of rows, under the columns' names."""
        return [{name: _bound(getattr(row, name)) for name in self._all} for row in rows]

    def patch(self, patch: Mapping[str, Any]) -> bytes:
        """A patch, under the columns' names."""
        return _encode({name: _bound(value) for name, value in patch.items()})


def _selected(wire: str, column: str, kind: str) -> str:
    if kind == "point":
        return f"{wire}:{column}_point"
    return column if wire == column else f"{wire}:{column}"


def _shadow(entity: Entity[Any]) -> Any:
    """The record's twin under the columns' names."""
    fields: list[Any] = [(field.name, field.python) for field in entity.fields.values()]
    return msgspec.defstruct(entity.record.__name__, fields, kw_only=True)


def _bound(value: Any) -> Any:
    if isinstance(value, Point):
        return f"SRID=4326;POINT({value.lon!r} {value.lat!r})"
    return value


_encode = msgspec.json.Encoder().encode
