"""The public API is this list, and the list is exactly what imports."""

from __future__ import annotations

import subprocess
import sys

import interlock

PUBLIC = [
    "App",
    "Backend",
    "Change",
    "Condition",
    "Entity",
    "EntityService",
    "Group",
    "Identity",
    "InterlockError",
    "Money",
    "Outcome",
    "Page",
    "Point",
    "Query",
    "Record",
    "Reference",
    "Services",
    "Settings",
    "Sort",
    "Unique",
    "blocking",
    "connect",
]


def test_the_list_is_what_imports() -> None:
    assert sorted(interlock.__all__) == PUBLIC
    assert not [name for name in PUBLIC if not hasattr(interlock, name)]


def test_a_star_import_gives_the_list_and_nothing_else() -> None:
    code = "from interlock import *; print(*sorted(name for name in dir() if not name.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == PUBLIC


def test_importing_the_package_loads_no_optional_library() -> None:
    """The base install has none of these."""
    optional = (
        "sqlalchemy",
        "alembic",
        "starlette",
        "granian",
        "faker",
        "openpyxl",
        "xlsxwriter",
        "aiohttp",
        "opentelemetry",
        "sentry_sdk",
    )
    code = f"import sys, interlock; print(*[name for name in {optional!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
