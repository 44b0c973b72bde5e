"""Writes the schema files of entities, and tells which differ."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from interlock.backends.supabase.schema import files, statements
from interlock.cli.exits import Exit
from interlock.cli.output import Output
from interlock.entities import ENTITIES
from interlock.entity import Entity
from interlock.errors import Invalid
from interlock.services.policy import able

__all__ = ["generate"]


def generate(
    output: Output, project: Path, named: str | None, *, check: bool, migration: str | None, now: datetime
) -> int:
    """Bring the project's schema files to the entities, or only compare. A new table's statements also make a migration, if one is named."""
    entities = ENTITIES if named is None else _load(named)
    folder = project / "schemas"
    there = {path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.sql"))}
    try:
        wanted = files(entities, roles=able, among=there)
    except TypeError as error:
        raise Invalid({"entities": str(error)}) from error
    new = [name for name in wanted if name not in there]
    changed = [name for name in wanted if name in there and there[name] != wanted[name]]
    if check:
        return _report(output, folder, new, changed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*new, *changed):
        (folder / name).write_text(wanted[name], "utf-8")
    made = None
    if migration is not None and new:
        added = [
            entity for entity in entities if any(name.partition("_")[2] == f"{entity.resource}.sql" for name in new)
        ]
        made = project / "migrations" / f"{now:%Y%m%d%H%M%S}_{migration}.sql"
        made.parent.mkdir(exist_ok=True)
        made.write_text(statements(added, roles=able), "utf-8")
    _tell(output, folder, new, changed, made)
    return Exit.OK


def _load(named: str) -> tuple[Entity[Any], ...]:
    """The entities that `module:NAME` holds. Raises `Invalid` where there are none."""
    module, _, attribute = named.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise Invalid({"entities": f"{error}; write module:NAME, such as shop.entities:ENTITIES"}) from error
    finally:
        sys.path.pop(0)
    listed = (found,) if isinstance(found, Entity) else tuple(found) if isinstance(found, Iterable) else ()
    if not listed or not all(isinstance(entity, Entity) for entity in listed):
        raise Invalid({"entities": f"{named} is neither an Entity nor a list of them"})
    return listed


def _report(output: Output, folder: Path, new: list[str], changed: list[str]) -> int:
    if output.json:
        output.data({"missing": new, "different": changed})
    for name in new:
        output.say(f"missing: {folder / name}")
    for name in changed:
        output.say(f"different: {folder / name}")
    if new or changed:
        output.say("run interlock supabase generate, and write a migration for what changed")
        return Exit.FAILED
    output.say("every schema file is as its entity says")
    return Exit.OK


def _tell(output: Output, folder: Path, new: list[str], changed: list[str], migration: Path | None) -> None:
    if output.json:
        output.data({"written": [*new, *changed], "migration": None if migration is None else str(migration)})
        return
    for name in (*new, *changed):
        output.say(f"wrote {folder / name}")
    if migration is not None:
        output.say(f"wrote {migration}")
    if changed:
        output.say("a file that was there changed: write a migration for the difference, such as with supabase db diff")
    if not new and not changed:
        output.say("every schema file is as its entity says")
