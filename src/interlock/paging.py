"""Order and place: the full order of a query, and the opaque cursors that mark a place in it.

A cursor holds the order it belongs to and the sort values of the last row, so that inserts before it move nothing.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any

import msgspec

from interlock.contract import Query, Record, Sort
from interlock.entity import Entity
from interlock.errors import Invalid

__all__ = ["Place", "decode_cursor", "encode_cursor", "full_order"]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A decoded cursor: the order, as `field` or `-field`, and the last row's value for each of them, in the field's type."""

    order: tuple[str, ...]
    values: tuple[Any, ...]


def full_order(query: Query) -> tuple[Sort, ...]:
    """The order of a query as asked for or by default, always ending in `id`, ascending."""
    sort = query.sort or (Sort("created_at", descending=True),)
    named = tuple(s.field for s in sort)
    if "id" in named:
        return sort[: named.index("id") + 1]
    return (*sort, Sort("id"))


def _names(order: tuple[Sort, ...]) -> tuple[str, ...]:
    return tuple(f"-{s.field}" if s.descending else s.field for s in order)


def encode_cursor(order: tuple[Sort, ...], row: Record) -> str:
    """The place right after `row`."""
    place = Place(_names(order), tuple(getattr(row, s.field) for s in order))
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def decode_cursor(entity: Entity[Any], order: tuple[Sort, ...], cursor: str) -> Place:
    """The place that a cursor marks. Raises `Invalid` for a cursor that is not one, or of another order."""
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = msgspec.json.decode(raw, type=Place)
        if place.order != _names(order) or len(place.values) != len(order):
            raise Invalid({"cursor": "belongs to another order; start again without it"})
        values = tuple(
            None if value is None else msgspec.convert(value, _type(entity, sort.field), strict=True)
            for value, sort in zip(place.values, order, strict=True)
        )
    except (binascii.Error, UnicodeEncodeError, ValueError, msgspec.MsgspecError) as error:
        raise Invalid({"cursor": "is not a cursor that this service gave; start again without it"}) from error
    return Place(place.order, values)


def _type(entity: Entity[Any], name: str) -> Any:
    field = entity.fields[name]
    return datetime if field.kind == "datetime" else field.python
