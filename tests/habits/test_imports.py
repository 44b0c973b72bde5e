"""Who may import whom, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "interlock"

KERNEL = (
    "contract",
    "abilities",
    "errors",
    "entity",
    "entities",
    "paging",
    "validation",
    "trail",
    "identifiers",
    "interpreter",
    "log",
    "ports",
    "operations",
    "tokens",
)

# Longest prefix first wins. A layer may always import itself.
ALLOWED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(KERNEL, KERNEL),
    "http": KERNEL,
    "accounts": KERNEL,
    "seed": (*KERNEL, "accounts"),
    "router": KERNEL,
    "layers": KERNEL,
    "control": KERNEL,
    "health": (*KERNEL, "router"),
    "warmup": (*KERNEL, "health", "router"),
    "observability": (*KERNEL, "http", "layers"),
    "relay": KERNEL,
    "settings": (*KERNEL,),
    "services": (*KERNEL, "router"),
    "backends.memory": KERNEL,
    "backends.sql": KERNEL,
    "backends.rest": (*KERNEL, "http"),
    "backends.supabase": (*KERNEL, "http"),
    "devstack": KERNEL,
    "gateway": (*KERNEL, "app", "health", "observability", "router", "services", "settings"),
    "cli": (
        *KERNEL,
        "app",
        "backends.supabase.schema",
        "devstack",
        "embedded",
        "gateway",
        "health",
        "http",
        "layers.shared",
        "observability",
        "pipelines",
        "portal",
        "router",
        "services",
        "settings",
    ),
    "portal": (*KERNEL, "app", "services", "settings"),
}
COMPOSITION = ("app", "mounting", "pipelines", "embedded", "__init__", "testing")
"""What puts the parts together may import them all, and so may the published test suite."""


def modules() -> list[str]:
    names = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts))
    return names


def source_of(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def within(module: str, layer: str) -> bool:
    return module == layer or module.startswith(f"{layer}.")


def type_only(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING:`, which is never run."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for child in node.body
        for inner in ast.walk(child)
    }


def imported(module: str) -> Iterator[str]:
    """Our own modules that this one imports, without the package's name."""
    tree = ast.parse(source_of(module).read_text("utf-8"))
    skipped = type_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively; write the whole name"
            found = [node.module or ""]
            if (
                node.module == "interlock"
                or source_of((node.module or "").removeprefix("interlock.")).name == "__init__.py"
            ):
                found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("interlock.") for name in found if name.startswith("interlock."))


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_layer_may(module: str) -> None:
    if any(within(module, layer) for layer in COMPOSITION):
        return
    layer = next((name for name in sorted(ALLOWED, key=len, reverse=True) if within(module, name)), None)
    if layer is None:
        assert module in ("backends", "__main__"), f"{module} belongs to no layer; name it in this test"
        return
    allowed = (*ALLOWED[layer], layer)
    bad = sorted({name for name in imported(module) if not any(within(name, each) for each in allowed)})
    assert not bad, f"{module} ({layer}) imports {', '.join(bad)}"


def test_the_edges_are_imported_by_nobody_but_edges() -> None:
    for module in modules():
        if any(within(module, edge) for edge in ("gateway", "cli", "__main__", "testing")):
            continue
        edges = [name for name in imported(module) if within(name, "gateway") or within(name, "cli")]
        assert not edges, f"{module} imports an edge: {edges}"
