"""Ids that are the same at every run and on every backend, and valid UUIDv7s all the same."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

__all__ = ["fixed_id"]

_FIRST_MILLISECOND: Final = 1_735_689_600_000  # 2025-01-01T00:00:00Z, before any id that was minted


def fixed_id(of: str, number: int = 0) -> str:
    """The UUIDv7 of the number-th thing of a kind; later numbers sort later."""
    noise = int.from_bytes(blake2b(f"{of}/{number}".encode(), digest_size=10).digest(), "big")
    time = _FIRST_MILLISECOND + number
    high = f"{time >> 16:08x}-{time & 0xFFFF:04x}-7{noise & 0xFFF:03x}"
    return f"{high}-{0x8000 | (noise >> 12) & 0x3FFF:04x}-{noise >> 26 & 0xFFFFFFFFFFFF:012x}"
