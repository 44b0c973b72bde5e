"""A project's migrations, applied as the official CLI applies them: in order, each whole or not at all, recorded."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from interlock.devstack.database import Sql
from interlock.errors import Misconfigured

__all__ = ["apply_migrations"]

_FILE = re.compile(r"(\d+)_(.*)\.sql")
_EXTENSION = re.compile(
    r'^\s*create\s+extension\s+(?:if\s+not\s+exists\s+)?"?([\w-]+)"?(?:\s+with)?(?:\s+schema\s+"?(\w+)"?)?',
    re.IGNORECASE | re.MULTILINE,
)
# Those that a hosted project lets `postgres` create though it is no superuser, of those that Debian has.
_ALLOWED = frozenset(
    {
        "postgis",
        "postgis_topology",
        "pg_trgm",
        "btree_gin",
        "btree_gist",
        "pgcrypto",
        "uuid-ossp",
        "unaccent",
        "citext",
        "fuzzystrmatch",
    }
)


async def apply_migrations(superuser: Sql, owner: Sql, project: Path, say: Callable[[str], None]) -> None:
    """Apply what is not applied yet, as `postgres`, who is no superuser: what passes here passes on a hosted project."""
    files = sorted(path for path in (project / "migrations").glob("*.sql") if _FILE.fullmatch(path.name))
    if not files:
        return
    done = set((await owner.run("select version from supabase_migrations.schema_migrations")).split())
    for path in files:
        found = _FILE.fullmatch(path.name)
        if found is None or found[1] in done:
            continue
        say(f"applying {path.name}")
        await _apply(superuser, owner, path, found[1], found[2])


async def _apply(superuser: Sql, owner: Sql, path: Path, version: str, name: str) -> None:
    sql = path.read_text()
    for extension, schema in _EXTENSION.findall(sql):
        if extension.lower() in _ALLOWED:
            where = f' with schema "{schema}"' if schema else ""
            await superuser.run(f'create extension if not exists "{extension}"{where} cascade')
    record = (
        "insert into supabase_migrations.schema_migrations (version, name) "  # noqa: S608  # a version is digits, a name is quoted
        f"values ('{version}', $name${name}$name$);"
    )
    try:
        await owner.run(f"{sql}\n;{record}\n")
    except Misconfigured as error:
        raise Misconfigured([f"{path.name}: {problem}" for problem in error.problems]) from error
