"""Small habits, held by looking at every committed text file."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).relative_to(ROOT).as_posix()


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    found = []
    for name in committed():
        try:
            found.append((name, (ROOT / name).read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return found


@pytest.fixture(scope="module")
def files() -> list[tuple[str, str]]:
    return texts()


def test_nothing_is_left_to_do(files: list[tuple[str, str]]) -> None:
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3]) + r")\b")
    found = [name for name, text in files if name.endswith((".py", ".md", ".sh", "Makefile")) and marks.search(text)]
    assert not found


def test_no_method_raises_that_it_is_not_there() -> None:
    bad = []
    for name in committed():
        if not name.startswith("src/") or not name.endswith(".py"):
            continue
        raised = [
            node.exc for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))) if isinstance(node, ast.Raise)
        ]
        bad += [name for exc in raised if exc is not None and ast.unparse(exc).startswith("NotImplementedError")]
    assert not bad


def test_no_drawers_for_everything() -> None:
    assert not [name for name in committed() if Path(name).name in ("utils.py", "common.py", "helpers.py", "misc.py")]


def test_no_machine_is_named(files: list[tuple[str, str]]) -> None:
    """Neither a folder of somebody's machine nor a private host."""
    private = re.compile(
        r"(?<![\w.])/(?:home|Users|root|work)/\w|file://(?!\$\{)"
        r"|\b(?:10\.\d{1,3}|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2}\b"
        r"|https?://[\w.-]+\.(?:internal|corp|lan|local)\b"
    )
    found = [
        f"{name}: {match.group()}"
        for name, text in files
        if name != HERE and (match := private.search(text)) is not None
    ]
    assert not found


def test_locks_name_no_registry(files: list[tuple[str, str]]) -> None:
    index = re.compile(r"--(?:extra-)?index-url|--find-links|--trusted-host")
    assert not [name for name, text in files if name.startswith("requirements/") and index.search(text)]
    resolved = re.compile(r'"resolved":\s*"https?://(?!registry\.npmjs\.org/)')
    assert not [name for name, text in files if name.endswith("package-lock.json") and resolved.search(text)]


def test_every_exemption_has_its_reason(files: list[tuple[str, str]]) -> None:
    exemption = re.compile(
        r"# (?:noqa(?!:)|noqa: [A-Z0-9, ]+$|type: ignore(?!\[)|type: ignore\[[\w, -]+\]\s*$)", re.MULTILINE
    )
    found = [name for name, text in files if name.endswith(".py") and name != HERE and exemption.search(text)]
    assert not found


def test_every_module_and_public_class_says_what_it_is() -> None:
    lacking = []
    for name in committed():
        if not name.startswith("src/") or not name.endswith(".py"):
            continue
        tree = ast.parse((ROOT / name).read_text("utf-8"))
        if ast.get_docstring(tree) is None and tree.body:
            lacking.append(name)
        lacking += [
            f"{name}: {node.name}"
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and ast.get_docstring(node) is None
        ]
    assert not lacking


def test_the_source_holds_no_mutable_module_state() -> None:
    """A list, dict or set at the top of a module would be shared by everything in the process."""
    found = []
    for name in committed():
        if not name.startswith("src/") or not name.endswith(".py") or "/migrations/" in name:
            continue
        for node in ast.parse((ROOT / name).read_text("utf-8")).body:
            target = (
                node.targets[0]
                if isinstance(node, ast.Assign)
                else node.target
                if isinstance(node, ast.AnnAssign)
                else None
            )
            value = getattr(node, "value", None)
            if target is None or ast.unparse(target) == "__all__":
                continue
            constant = ast.unparse(target).lstrip("_").isupper() or "Final" in ast.unparse(
                getattr(node, "annotation", ast.Constant(""))
            )
            if (
                isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp))
                and not constant
            ):
                found.append(f"{name}: {ast.unparse(target)}")
    assert not found
