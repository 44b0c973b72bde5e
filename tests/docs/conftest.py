"""The product, started as a reader starts it, in a scratch folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running import Product, started

ROOT = Path(__file__).resolve().parents[2]


def scratch(parent: Path) -> Path:
    """A clone, as far as the documentation needs one, with the shared data beside it where there is any."""
    folder = parent / "main"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shared = ROOT.parent / "shared" / "data"
    if shared.is_dir():
        (parent / "shared").mkdir()
        (parent / "shared" / "data").symlink_to(shared)
    return folder


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with started(scratch(tmp_path_factory.mktemp("docs"))) as running:
        yield running
