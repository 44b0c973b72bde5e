"""The README works line by line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.docs.conftest import scratch
from tests.docs.transcript import ROOT, Step, run, steps
from tests.running import Product, free_ports, started

from interlock.devstack.programs import find_programs
from interlock.errors import Misconfigured

README = ROOT / "README.md"


def walk(product: Product, shown: Callable[[Step], Step] = lambda step: step) -> int:
    """Run every block, as far as its data is here. Answers how many."""
    ran = 0
    for step in steps(README):
        if step.needs and not (Path(product.folder) / step.needs).exists():
            continue
        run(shown(step), product.folder, product.env, product.ports)
        ran += 1
    return ran


def test_the_readme_works_line_by_line(product: Product) -> None:
    assert walk(product) >= 10


def test_the_readme_works_on_supabase(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str], None]) -> None:
    """With every service on supabase from the start, and customers led back to it."""
    try:
        find_programs()
    except Misconfigured as error:
        missing(str(error))
    first = [True]

    def on_supabase(step: Step) -> Step:
        command, printed = step.command, step.printed.replace("auth           mock ", "auth           supabase ")
        if command == "interlock switch customers mock":
            command, printed = command.replace("mock", "supabase"), printed.replace("mock", "supabase")
        elif command == "interlock switch customers real":
            printed = printed.replace("mock", "supabase") if first.pop() else printed
            first.append(False)
        elif command.startswith("python examples/"):
            printed += " and supabase"  # where the example found them; it leaves them on mock
        elif command == "interlock status":
            printed = printed.replace("customers      mock ", "customers      supabase ")
        return step._replace(command=command, printed=printed)

    (port,) = free_ports(1)
    settings = {"INTERLOCK_API_MODE": "supabase", "INTERLOCK_SUPABASE_PORT": str(port)}
    with started(scratch(tmp_path_factory.mktemp("supabase")), **settings) as product:
        assert walk(product, on_supabase) >= 10


@pytest.mark.parametrize("word", ["make run", "import", "search=", "switch", "export", "status"])
def test_the_walk_through_is_whole(word: str) -> None:
    assert any(word in step.command for step in steps(README))
