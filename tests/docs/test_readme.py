"""The README works line by line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.transcript import ROOT, run, steps
from tests.running import Product

README = ROOT / "README.md"


def test_the_readme_works_line_by_line(product: Product) -> None:
    ran = 0
    for step in steps(README):
        if step.needs and not (Path(product.folder) / step.needs).exists():
            continue
        run(step, product.folder, product.env, product.ports)
        ran += 1
    assert ran >= 10


@pytest.mark.parametrize("word", ["make run", "import", "search=", "switch", "export", "status"])
def test_the_walk_through_is_whole(word: str) -> None:
    assert any(word in step.command for step in steps(README))
