"""The outcomes of an operation, packed for the row that remembers it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from interlock.contract import Outcome
from interlock.entity import Entity
from interlock.operations import Rejection, error_of, raw, rejection_of

__all__ = ["pack", "unpack"]

_LEVEL: Final = 1
"""Bulk writes are packed on the way to the commit; a higher level costs more time than it saves in space."""


class _Item(msgspec.Struct, frozen=True, array_like=True):
    id: str
    row: msgspec.Raw
    error: Rejection | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Item]).decode


def pack(outcomes: Iterable[Outcome]) -> bytes:
    """The outcomes, small."""
    items = [_Item(o.id, raw(o.row), None if o.error is None else rejection_of(o.error)) for o in outcomes]
    return zlib.compress(_encode(items), _LEVEL)


def unpack(entity: Entity[Any], packed: bytes) -> tuple[Outcome, ...]:
    """The outcomes again, as they were."""
    row = msgspec.json.Decoder(entity.record | None).decode
    return tuple(
        Outcome(item.id, row(item.row), None if item.error is None else error_of(entity, item.id, item.error, row))
        for item in _decode(zlib.decompress(packed))
    )
