"""What an operation id remembers, the same wherever it is kept: which request it was, and why an item was rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from interlock.contract import Request, canonical
from interlock.entity import Entity
from interlock.errors import Conflict, Duplicate, InterlockError, Invalid, NotFound

__all__ = ["Rejection", "error_of", "fingerprint", "raw", "rejection_of"]

_encode = msgspec.json.Encoder().encode


class Rejection(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Why one item was not written, as JSON: a list, whose end is left out where nothing is said there."""

    code: str
    field: str = ""
    existing_id: str | None = None
    expected_version: int | None = None
    current: msgspec.Raw = msgspec.Raw(b"null")
    fields: dict[str, str] = {}
    message: str = ""


def fingerprint(request: Request) -> bytes:
    """A digest of the request: the same call again has the same, wherever it was routed."""
    return hashlib.sha256(canonical(msgspec.structs.replace(request, epoch=0))).digest()


def raw(row: Any) -> msgspec.Raw:
    """A row as JSON within JSON, by the names on the wire."""
    return msgspec.Raw(_encode(row))


def rejection_of(error: Exception) -> Rejection:
    """The error of one item, to be kept."""
    match error:
        case Conflict():
            return Rejection("conflict", expected_version=error.expected_version, current=raw(error.current))
        case Duplicate():
            return Rejection("duplicate", field=error.field, existing_id=error.existing_id)
        case NotFound():
            return Rejection("not_found")
        case Invalid():
            return Rejection("invalid", fields=error.fields)
        case _:
            return Rejection("error", message=str(error))


def error_of(entity: Entity[Any], id: str, kept: Rejection, row: Callable[[msgspec.Raw], Any]) -> InterlockError:
    """The error again. `row` reads a row from JSON."""
    match kept.code:
        case "conflict":
            return Conflict(entity.resource, id, kept.expected_version, row(kept.current))
        case "duplicate":
            return Duplicate(entity.resource, kept.field, kept.existing_id)
        case "not_found":
            return NotFound(entity.resource, id)
        case "invalid":
            return Invalid(kept.fields)
        case _:
            return InterlockError(kept.message)
