"""Ids that follow from what a row is, so that a file imported twice adds nothing.

They have the shape of a UUIDv7 with its time at zero: derived, not minted, and a hash fills the other 74 bits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from interlock.contract import Record
from interlock.entity import Entity, fold
from interlock.services.transfer.columns import Profile

__all__ = ["derived_id", "row_keys"]

_SPACES = re.compile(r"\s+")
_encode = msgspec.json.Encoder(order="deterministic").encode


def derived_id(*parts: str) -> str:
    """The id of what the parts name, the same for the same parts."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=10).digest()
    bits = int.from_bytes(digest, "big")
    tail = f"{(bits & 0x3FFFFFFFFFFFFFFF) | 0x8000000000000000:016x}"
    return f"00000000-0000-7{(bits >> 62) & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"


def row_keys(entity: Entity[Any], profile: Profile, tenant_id: str) -> Callable[[Record], str]:
    """What gives a checked row its id: from its unique value, else from the profile's key, else from all that it holds.

    Texts of a profile's key compare without case and with single spaces.
    """
    own = tuple(name for name in entity.fields if name in entity.writable and name != "id")

    def key(row: Record) -> str:
        for unique in entity.unique:
            value = entity.unique_value(unique, row)
            if value is not None:
                return derived_id(tenant_id, entity.resource, unique.field, _text(value))
        parts: Iterable[str] = (_text(getattr(row, name)) for name in profile.key or own)
        return derived_id(tenant_id, entity.resource, "row" if profile.key else "whole", *parts)

    def _text(value: Any) -> str:
        if isinstance(value, str):
            return _SPACES.sub(" ", fold(value)).strip() if profile.key else value
        return "" if value is None else _encode(value).decode()

    return key
