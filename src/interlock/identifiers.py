"""Ids: UUIDv7 in their canonical form, so that they sort by the time they were minted."""

from __future__ import annotations

import re

import uuid_utils

__all__ = ["is_id", "new_id"]

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """A new canonical UUIDv7."""
    return str(uuid_utils.uuid7())


def is_id(text: str) -> bool:
    """True for a canonical UUIDv7."""
    return _CANONICAL.fullmatch(text) is not None
