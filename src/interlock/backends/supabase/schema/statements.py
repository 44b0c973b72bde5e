"""All statements of entities, in the order in which they can be run, and the files that they are kept in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, Final

from interlock.backends.supabase.schema.functions import near, places, put, search
from interlock.backends.supabase.schema.tables import Roles, grants, indexes, permissions, policies, table
from interlock.backends.supabase.schema.triggers import bindings, created, removed, stamp, taken, updated
from interlock.entity import Entity

__all__ = ["HEADER", "files", "statements"]

HEADER: Final = (
    "-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.\n"
)
_FIRST: Final = 10
_LAST: Final = 40
"""Below it are the tables; from it on, what needs them."""
_NAMED: Final = re.compile(r"(\d\d)_(\w+)\.sql")
_ELSEWHERE: Final = frozenset({"credentials"})
"""Passwords and sessions are kept by Supabase's own auth."""


def statements(entities: Iterable[Entity[Any]], *, roles: Roles) -> str:
    """The SQL that makes the tables of the entities and all that belongs to them, on a database that has Interlock's own schema."""
    return "\n".join("\n".join((*_of(entity, roles), "")) for entity in _kept(entities))


def files(entities: Iterable[Entity[Any]], *, roles: Roles, among: Iterable[str] = ()) -> dict[str, str]:
    """The text of each schema file, by name: `10_customers.sql` and so on. An entity that has a file `among` those there keeps its name."""
    held = {found[2]: name for name in among if (found := _NAMED.fullmatch(name))}
    numbers = {int(found[1]) for name in among if (found := _NAMED.fullmatch(name)) and int(found[1]) < _LAST}
    free = count(max((*numbers, _FIRST - 1)) + 1)
    named = {entity: held.get(entity.resource) or f"{next(free)}_{entity.resource}.sql" for entity in _kept(entities)}
    return {name: f"{HEADER}\n" + "\n".join((*_of(entity, roles), "")) for entity, name in named.items()}


def _kept(entities: Iterable[Entity[Any]]) -> list[Entity[Any]]:
    return [entity for entity in entities if entity.resource not in _ELSEWHERE]


def _of(entity: Entity[Any], roles: Roles) -> Iterator[str]:
    parts = (
        (table(entity),),
        tuple(indexes(entity)),
        (permissions(entity, roles),),
        tuple(grants(entity)),
        tuple(policies(entity, roles)),
        (taken(entity),),
        (stamp(entity, roles),),
        (created(entity),),
        () if entity.append_only else (updated(entity), removed(entity)),
        tuple(bindings(entity)),
        tuple(places(entity)),
        tuple(search(entity, roles)),
        tuple(near(entity, roles)),
        tuple(put(entity)),
    )
    for part in parts:
        if part:
            yield from part
            yield ""
