"""Ids: UUIDv7 in their canonical form, so that they sort by the time they were minted."""

from __future__ import annotations

import hashlib
import re

import uuid_utils

__all__ = ["derived_id", "is_id", "new_id"]

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """A new canonical UUIDv7."""
    return str(uuid_utils.uuid7())


def derived_id(operation_id: str, resource: str, place: int = 0) -> str:
    """The id of a row that an operation makes without giving one: the same each time, so that a repeated operation makes no second row.

    It sorts by the time of the operation id where that is a UUIDv7, else before all others.
    """
    bits = hashlib.sha256(f"{operation_id}\n{resource}\n{place}".encode(errors="surrogatepass")).hexdigest()
    time = operation_id[:13] if is_id(operation_id) else "00000000-0000"
    return f"{time}-7{bits[:3]}-{'89ab'[int(bits[3], 16) % 4]}{bits[4:7]}-{bits[7:19]}"


def is_id(text: str) -> bool:
    """True for a canonical UUIDv7."""
    return _CANONICAL.fullmatch(text) is not None
