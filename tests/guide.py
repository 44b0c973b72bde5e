"""The guide that the product grew from, and its configuration file, where they are beside the repository; and who serves what by that file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["MIX", "guide_file"]

MIX = {
    "auth": "mock",
    "customers": "supabase",
    "sales": "real",
    "tickets": "mock",
    "contracts": "supabase",
    "users": "real",
    "dashboard": "mock",
    "notifications": "supabase",
    "files": "supabase",
    "audit": "real",
}
"""Who serves what by the guide's file."""

SHARED = Path(__file__).resolve().parents[2] / "shared"


def guide_file(name: str) -> Path:
    """`guide.md` or `guide.env`. Skips the test where it is not there, and fails it in CI."""
    path = SHARED / name
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path.name} is missing beside the repository, and CI must run everything", pytrace=False)
        pytest.skip(f"{path.name} is not beside this repository")
    return path
