"""Ids that are made from names: canonical UUIDv7s, the same wherever they are made."""

from __future__ import annotations

import hashlib
import uuid
from typing import Final

__all__ = ["fixed_id"]

_EPOCH: Final = 1_767_225_600_000
"""Milliseconds of 2026-01-01T00:00:00Z: when all fixed ids say they were minted."""


def fixed_id(kind: str, name: str) -> str:
    """The id that this kind of thing with this name always has."""
    noise = int.from_bytes(hashlib.sha256(f"{kind}:{name}".encode()).digest()[:10])
    rand_a, rand_b = noise >> 68, noise & ((1 << 62) - 1)
    return str(uuid.UUID(int=(_EPOCH << 80) | (7 << 76) | (rand_a << 64) | (2 << 62) | rand_b))
