"""What an operation id remembers: which request it was, and what came of each item."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from interlock.contract import Outcome, Request, canonical
from interlock.entity import Entity
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound

__all__ = ["fingerprint", "pack", "unpack"]

_LEVEL: Final = 1
"""Bulk writes are packed on the way to the commit; a higher level costs more time than it saves in space."""


class _Item(msgspec.Struct, frozen=True, array_like=True):
    id: str
    row: msgspec.Raw
    error: _Error | None


class _Error(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    code: str
    field: str = ""
    existing_id: str | None = None
    expected_version: int | None = None
    current: msgspec.Raw = msgspec.Raw(b"null")
    fields: dict[str, str] = {}
    message: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[_Item]).decode


def fingerprint(request: Request) -> bytes:
    """A digest of the request: the same call again has the same, wherever it was routed."""
    return hashlib.sha256(canonical(msgspec.structs.replace(request, epoch=0))).digest()


def _raw(row: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(row))


def _error(error: Exception | None) -> _Error | None:
    match error:
        case None:
            return None
        case Conflict():
            return _Error("conflict", expected_version=error.expected_version, current=_raw(error.current))
        case Duplicate():
            return _Error("duplicate", field=error.field, existing_id=error.existing_id)
        case NotFound():
            return _Error("not_found")
        case Invalid():
            return _Error("invalid", fields=error.fields)
        case _:
            return _Error("error", message=str(error))


def pack(outcomes: Iterable[Outcome]) -> bytes:
    """The outcomes, small."""
    return zlib.compress(_encode([_Item(o.id, _raw(o.row), _error(o.error)) for o in outcomes]), _LEVEL)


def unpack(entity: Entity[Any], packed: bytes) -> tuple[Outcome, ...]:
    """The outcomes again, as they were."""
    row = msgspec.json.Decoder(entity.record | None).decode
    return tuple(
        Outcome(item.id, row(item.row), _raised(entity, item, row)) for item in _decode(zlib.decompress(packed))
    )


def _raised(entity: Entity[Any], item: _Item, row: Any) -> InterlockError | None:
    found = item.error
    if found is None:
        return None
    match found.code:
        case "conflict":
            return Conflict(entity.resource, item.id, found.expected_version, row(found.current))
        case "duplicate":
            return Duplicate(entity.resource, found.field, found.existing_id)
        case "not_found":
            return NotFound(entity.resource, item.id)
        case "invalid":
            return Invalid(found.fields)
        case _:
            return InterlockError(found.message)
