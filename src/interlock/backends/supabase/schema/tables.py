"""The table of an entity: columns, indexes, grants, and one policy for each verb."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from interlock.backends.supabase.schema.columns import column, literal, name
from interlock.entity import Entity, Unique

__all__ = ["FOLDED", "Roles", "grants", "indexes", "permissions", "policies", "search_text", "table"]

Roles = Callable[[str, str], Collection[str]]
"""The roles that may take an action (list, create, update, delete, restore) on a resource."""

FOLDED: Final = 'pg_catalog."und-x-icu"'
"""The collation whose `lower` folds as Python's does."""

_ACTIONS: Final = ("list", "create", "update", "delete", "restore")


def table(entity: Entity[Any]) -> str:
    """The table itself."""
    first = ("tenant_id", "id")
    fields = sorted(entity.fields.values(), key=lambda f: first.index(f.name) if f.name in first else len(first))
    lines = [column(entity, field) for field in fields]
    if entity.searchable:
        lines.append(f'search_text text collate "C" generated always as ({search_text(entity)}) stored')
    lines.append(f"constraint {name(entity.resource, 'pkey')} primary key (tenant_id, id)")
    inner = ",\n  ".join(lines)
    return f"create table public.{name(entity.resource)} (\n  {inner}\n);"


def search_text(entity: Entity[Any]) -> str:
    """The searchable fields, folded in one go: the separator is no letter, so no folding looks across it."""
    parts = [name(f) if not entity.fields[f].nullable else f"coalesce({name(f)}, '')" for f in entity.searchable]
    joined = " || E'\\x1f' || ".join(parts)
    return f"lower(({joined}) collate {FOLDED})"


def unique_expression(unique: Unique, row: str = "") -> str:
    """What a unique key compares."""
    this = f"{row}{name(unique.field)}"
    return f"lower({this} collate {FOLDED})" if unique.folded else this


def indexes(entity: Entity[Any]) -> Iterator[str]:
    """Every index but the primary key's. Each begins with the tenant, but for the one that looks for places."""
    of = f"on public.{name(entity.resource)}"
    yield f"create index {name(entity.resource, 'recent', 'idx')} {of} (tenant_id, created_at desc, id);"
    for reference in entity.references:
        key = name(entity.resource, reference.field, "idx")
        yield f"create index {key} {of} (tenant_id, {name(reference.field)});"
    for unique in entity.unique:
        key, compared = name(entity.resource, unique.field, "key"), unique_expression(unique)
        compared = f"({compared})" if unique.folded else compared
        yield f"create unique index {key} {of} (tenant_id, {compared}) where deleted_at is null;"
    if entity.searchable:
        key = name(entity.resource, "search", "idx")
        yield f"create index {key} {of} using gin (tenant_id, search_text extensions.gin_trgm_ops);"
    if entity.location:
        key = name(entity.resource, entity.location, "idx")
        yield f"create index {key} {of} using gist ({name(entity.location)});"


def permissions(entity: Entity[Any], roles: Roles) -> str:
    """The lines of the table of permissions, which the functions that serve every resource look into."""
    lines = ",\n  ".join(
        f"({literal(entity.resource)}, {literal(action)}, {literal(sorted(roles(entity.resource, action)))})"
        for action in _ACTIONS
    )
    return (
        f"insert into app.permissions (resource, action, roles) values\n  {lines}\n"
        "on conflict (resource, action) do update set roles = excluded.roles;"
    )


def policies(entity: Entity[Any], roles: Roles) -> Iterator[str]:
    """Row level security: the tenant, and who may read, add and change. Nobody deletes for good."""
    of = f"public.{name(entity.resource)}"
    yield f"alter table {of} enable row level security;"
    yield f"alter table {of} force row level security;"
    own = "tenant_id = (select app.tenant_id()) and (select app.role()) in"

    def held(*actions: str) -> str:
        able = sorted({role for action in actions for role in roles(entity.resource, action)})
        return f"{own} ({', '.join(literal(role) for role in able)})" if able else "false"

    def policy(verb: str, rule: str) -> str:
        return f"create policy {name(entity.resource, verb)} on {of} for {verb} to authenticated\n  {rule};"

    yield policy("select", f"using ({held('list')})")
    yield policy("insert", f"with check ({held('create')})")
    if not entity.append_only:
        changing = held("update", "delete", "restore")
        yield policy("update", f"using ({changing})\n  with check ({changing})")


def grants(entity: Entity[Any]) -> Iterator[str]:
    """Nothing to anon; to users the columns that are theirs to write."""
    of = f"public.{name(entity.resource)}"
    writable = [name(f) for f in entity.fields if f in entity.writable and f != "id"]
    yield f"revoke all on {of} from public, anon, authenticated, service_role;"
    yield f"grant select on {of} to authenticated, service_role;"
    yield f"grant insert (id, {', '.join(writable)}) on {of} to authenticated;"
    if entity.append_only:
        yield f"grant insert on {of} to service_role;"
    else:
        yield f"grant update ({', '.join(writable)}, deleted_at) on {of} to authenticated;"
        yield f"grant insert, update, delete on {of} to service_role;"
