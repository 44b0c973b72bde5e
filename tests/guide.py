"""The guide that the product was ordered by, and its configuration file, where they are beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["guide_file"]

SHARED = Path(__file__).resolve().parents[2] / "shared"


def guide_file(name: str) -> Path:
    """`guide.md` or `guide.env`. Skips the test where it is not there, and fails it in CI."""
    path = SHARED / name
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path.name} is missing beside the repository, and CI must run everything", pytrace=False)
        pytest.skip(f"{path.name} is not beside this repository")
    return path
