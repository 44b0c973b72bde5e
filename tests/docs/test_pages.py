"""Every page of the documentation is complete, and its blocks run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.docs import tables
from tests.docs.transcript import ROOT, run, steps
from tests.running import Product

import interlock
from interlock import errors
from interlock.devstack.programs import find_programs
from interlock.errors import Misconfigured
from interlock.settings import GUIDE, SERVICES, Settings

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def text_of(page: str) -> str:
    return (DOCS / page).read_text("utf-8")


@pytest.mark.parametrize(("page", "name"), tables.TABLES)
def test_tables_follow_from_the_code(page: str, name: str) -> None:
    text = text_of(page)
    written = tables.replaced(text, name, tables.TABLES[page, name])
    assert text == written, "python tests/docs/tables.py writes them anew"


def test_the_example_has_every_setting_and_works(tmp_path: Path) -> None:
    text = tables.EXAMPLE.read_text("utf-8")
    assert text == tables.example(), "python tests/docs/tables.py writes it anew"
    (tmp_path / ".env").write_text(re.sub(r"^# (INTERLOCK_\w+=)", r"\1", text, flags=re.MULTILINE))
    settings = Settings.load(env={}, env_file=tmp_path / ".env", toml=None)
    assert settings == Settings(), "uncommented, it says what is so without it"


def test_every_setting_has_its_line() -> None:
    text = text_of("configuration.md")
    names = [f"`INTERLOCK_{name.upper()}`" for name in Settings.model_fields if name not in ("backends", "limits")]
    assert not [name for name in (*names, *(f"`{guide}`" for guide in GUIDE)) if name not in text]


def test_every_error_has_its_section() -> None:
    text = text_of("errors.md")
    assert not [name for name in errors.__all__ if f"\n## {name}\n" not in text]


def test_every_service_has_its_section() -> None:
    text = text_of("services.md")
    assert not [name for name in SERVICES if f"\n## {name}\n" not in text]


def test_every_public_name_has_its_line() -> None:
    everything = "".join(page.read_text("utf-8") for page in PAGES)
    assert not [
        name
        for name in interlock.__all__
        if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`|^## {name}$", everything, re.MULTILINE)
    ]


def test_every_page_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert not [page.name for page in PAGES if f"docs/{page.name}" not in readme]


def links() -> list[tuple[Path, str]]:
    pages = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    found = [(page, link) for page in pages for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8"))]
    return [(page, link) for page, link in found if not link.startswith("http")]


def heading(line: str) -> str:
    return re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")


@pytest.mark.parametrize(("page", "link"), links())
def test_links_lead_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.exists()
    if anchor:
        assert anchor in {heading(line) for line in target.read_text("utf-8").splitlines() if line.startswith("#")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(page: Path, product: Product, missing: Callable[[str], None]) -> None:
    for step in steps(page):
        if step.needs == "supabase":
            local_supabase_or(missing)
        run(step, product.folder, product.env, product.ports)


def local_supabase_or(missing: Callable[[str], None]) -> None:
    try:
        find_programs()
    except Misconfigured as error:
        missing(str(error))
