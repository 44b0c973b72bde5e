"""The triggers of a table: who and when on each row, and for each statement its trail, its changes and its operation's images.

The row trigger is plain assignments, without a query but where the client asks for duplicates to be skipped; all else is done once
for a statement, over its transition tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from interlock.backends.supabase.schema.columns import column_json, literal, name, wire_json
from interlock.backends.supabase.schema.tables import Roles, unique_expression
from interlock.entity import Entity, Field

__all__ = ["begin", "bindings", "created", "removed", "stamp", "taken", "updated"]

_SILENT: Final = frozenset({"created_at", "updated_at", "created_by", "updated_by", "tenant_id"})
_AUDIT: Final = "audit"
_MOST_ARGUMENTS: Final = 90
"""PostgreSQL passes at most 100 to a function."""

_OUTSIDER: Final = "current_setting('role') in ('authenticated', 'anon')"
"""Within a function of the owner's, `current_user` is the owner; this setting still says who asked."""


def stamp(entity: Entity[Any], roles: Roles) -> str:
    """The function of the row trigger."""
    lines = [*_stamp_insert(entity)]
    if not entity.append_only:
        lines += _stamp_update(entity, roles)
    body = "\n".join(f"  {line}" for line in lines)
    return f"""\
create function app.{name(entity.resource, "stamp")}() returns trigger language plpgsql set search_path = '' as $$
declare
  trusted constant boolean := current_user not in ('authenticated', 'anon');
begin
  if trusted and current_setting('app.putting', true) = 'on' then
    return new;
  end if;
{body}
end $$;
revoke all on function app.{name(entity.resource, "stamp")}() from public;"""


def _trims(entity: Entity[Any]) -> Iterator[str]:
    for field in entity.fields.values():
        if field.kind == "decimal":
            yield f"new.{name(field.name)} := trim_scale(new.{name(field.name)});"


def _stamp_insert(entity: Entity[Any]) -> Iterator[str]:
    inner = [
        "if not trusted or new.tenant_id is null then",
        "  new.tenant_id := nullif(current_setting('app.tenant', true), '');",
        "end if;",
        "if new.tenant_id is null then",
        "  raise sqlstate '42501' using message = 'the token names no tenant';",
        "end if;",
        "new.id := coalesce(new.id, app.new_id());",
        "new.created_at := now();",
        "new.updated_at := new.created_at;",
        "if not trusted or new.created_by is null then",
        "  new.created_by := nullif(current_setting('app.user', true), '');",
        "end if;",
        "new.updated_by := new.created_by;",
        "new.version := 1;",
        "new.deleted_at := null;",
        *_trims(entity),
        *_skipping(entity),
    ]
    if entity.sequence:
        inner.append(f"new.{name(entity.sequence)} := app.next_number({literal(entity.resource)}, new.tenant_id);")
    inner.append("return new;")
    if entity.append_only:
        yield from inner
        return
    yield "if tg_op = 'INSERT' then"
    yield from (f"  {line}" for line in inner)
    yield "end if;"


def _skipping(entity: Entity[Any]) -> Iterator[str]:
    """A row that is in the way of another is left out, where the client asks for that."""
    yield f"if current_setting('app.duplicates', true) = 'skip' and app.{name(entity.resource, 'taken')}(new, tg_op) then"
    yield "  return null;"
    yield "end if;"


def taken(entity: Entity[Any]) -> str:
    """The function that says whether a row's id or unique values are another's, and keeps whose, so that the client can be told.

    As the owner: under row level security the unique indexes could not be used.
    """
    of = f"public.{name(entity.resource)}"
    made = f"app.{name(entity.resource, 'taken')}"
    looks = "\n".join(
        f"""\
  if holder is null then
    field := {literal(unique.field)};
    select t.id into holder from {of} t
      where t.tenant_id = r.tenant_id and t.deleted_at is null and t.id <> r.id
        and {unique_expression(unique, "t.")} = {unique_expression(unique, "r.")};
  end if;"""
        for unique in entity.unique
    )
    return f"""\
create function {made}(r {of}, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from {of} t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;
{looks}
  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function {made}({of}, text) from public;
grant execute on function {made}({of}, text) to authenticated, service_role;"""


def _stamp_update(entity: Entity[Any], roles: Roles) -> Iterator[str]:
    kept = ["tenant_id", "id", "created_at", "created_by", "updated_at", "updated_by", "version"]
    kept += [entity.sequence] if entity.sequence else []
    yield "if old.deleted_at is not null and new.deleted_at is not null then"
    yield "  return null;"
    yield "end if;"
    yield from (f"new.{name(field)} := old.{name(field)};" for field in kept)
    yield from _trims(entity)
    change, remove, restore = (frozenset(roles(entity.resource, action)) for action in ("update", "delete", "restore"))
    yield "if new.deleted_at is not null then"
    yield from _permit(entity, "delete", remove)
    yield "  new.deleted_at := now();"
    yield "elsif old.deleted_at is not null then"
    yield from _permit(entity, "restore", restore)
    yield "else"
    if change != change | remove | restore:
        yield from _permit(entity, "update", change)
    if entity.searchable:
        # A generated column is empty here until the row is written.
        yield "  new.search_text := old.search_text;"
    yield "  if new is not distinct from old then"
    yield "    return old;"
    yield "  end if;"
    yield "end if;"
    if entity.unique:
        yield "if new.deleted_at is null then"
        yield from (f"  {line}" for line in _skipping(entity))
        yield "end if;"
    yield "new.updated_at := now();"
    yield "new.updated_by := nullif(current_setting('app.user', true), '');"
    yield "new.version := old.version + 1;"
    yield "return new;"


def _permit(entity: Entity[Any], action: str, roles: frozenset[str]) -> Iterator[str]:
    able = ", ".join(literal(role) for role in sorted(roles))
    refused = f"app.role() in ({able}) is not true" if able else "true"
    yield f"  if not trusted and {refused} then"
    yield f"    raise sqlstate '42501' using message = {literal(f'{entity.resource}: the role may not {action}')};"
    yield "  end if;"


def created(entity: Entity[Any]) -> str:
    """The function that runs after an insert."""
    lines = [*_forged(entity), *_changes(entity, "'created'", "new_rows n")]
    if entity.sequence:
        lines.append(f"perform app.keep_number({literal(entity.resource)});")
    if entity.resource != _AUDIT:
        lines += _unless_putting([*_trail(entity, "'create'", "'{}'", _whole(entity), "new_rows n"), *_images(entity)])
    else:
        lines += _unless_putting(_images(entity))
    return _function(entity, "created", lines)


def updated(entity: Entity[Any]) -> str:
    """The function that runs after an update: the rows whose version did not move were not changed."""
    rows = "new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id"
    moved = f"{rows} where n.version <> o.version"
    putting = "current_setting('app.putting', true) = 'on'"
    kind = f"""case
      when n.deleted_at is not null then 'deleted'
      when o.deleted_at is not null and {putting} is not true then 'restored'
      else 'updated' end"""
    action = """case
        when n.deleted_at is not null then 'delete'
        when o.deleted_at is not null then 'restore'
        else 'update' end"""
    written = f"{rows} where n.version <> o.version or {putting}"
    lines = [*_forged(entity, f"{rows} and n.version <> o.version"), *_changes(entity, kind, written)]
    trail = _trail(entity, action, _differing(entity, "o"), _differing(entity, "n"), moved)
    lines += _unless_putting([*trail, *_images(entity)])
    return _function(entity, "updated", lines)


def removed(entity: Entity[Any]) -> str:
    """The function that runs after rows were deleted for good, which the service role alone may do."""
    return _function(
        entity,
        "removed",
        [
            "insert into public.changes (tenant_id, resource, record_id, version, kind)",
            f"  select o.tenant_id, {literal(entity.resource)}, o.id, o.version, 'deleted' from old_rows o;",
            f"delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = {literal(entity.resource)} and s.id = o.id;",
        ],
    )


def _function(entity: Entity[Any], suffix: str, lines: Sequence[str]) -> str:
    body = "\n".join(f"  {line}" for line in lines)
    return f"""\
create function app.{name(entity.resource, suffix)}() returns trigger language plpgsql security definer set search_path = '' as $$
begin
{body}
  return null;
end $$;
revoke all on function app.{name(entity.resource, suffix)}() from public;"""


def _unless_putting(lines: Iterable[str]) -> Iterator[str]:
    yield "if current_setting('app.putting', true) is distinct from 'on' then"
    yield from (f"  {line}" for line in lines)
    yield "end if;"


def _forged(entity: Entity[Any], rows: str = "new_rows n") -> Iterator[str]:
    yield f"if {_OUTSIDER} and pg_trigger_depth() = 1 and exists ("
    yield f"  select from {rows}, app.caller() c"
    yield "  where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id"
    yield ") and current_setting('app.putting', true) is distinct from 'on' then"
    yield "  perform app.refuse_forged();"
    yield "end if;"


def _changes(entity: Entity[Any], kind: str, rows: str) -> Iterator[str]:
    yield "insert into public.changes (tenant_id, resource, record_id, version, kind)"
    yield f"  select n.tenant_id, {literal(entity.resource)}, n.id, n.version, {kind} from {rows};"


def _trail(entity: Entity[Any], action: str, before: str, after: str, rows: str) -> Iterator[str]:
    hidden = entity.internal
    yield "with written as ("
    yield "  insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,"
    yield "    record_id, before, after, backend, epoch, operation_id)"
    yield "  select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),"
    yield f"    {action}, {literal(entity.resource)}, n.id,"
    yield f"    {literal('{}') if hidden else before},"
    yield f"    {literal('{}') if hidden else after},"
    yield "    'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')"
    yield f"  from {rows}"
    yield "  returning tenant_id, id"
    yield ")"
    yield "insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;"


def _told(entity: Entity[Any]) -> list[Field]:
    """The fields that the trail speaks of, in the order in which `interlock.trail` writes them."""
    return sorted((f for f in entity.fields.values() if f.name not in _SILENT), key=lambda f: f.wire)


def _whole(entity: Entity[Any]) -> str:
    """The image of a new row, by wire names."""
    columns = ", ".join(f'{wire_json(field, "n")} as "{field.wire}"' for field in _told(entity))
    return f"(select row_to_json(x)::text from (select {columns}) x)"


def _differing(entity: Entity[Any], row: str) -> str:
    """The image of the fields that an update changed, by wire names."""
    parts = []
    for field in _told(entity):
        n, o = (f"{r}.{name(field.name)}" for r in "no")
        if field.kind == "point":
            n, o = f"{n}::text", f"{o}::text"
        shown = f"""'"{field.wire}":' || coalesce(to_json({wire_json(field, row)})::text, 'null')"""
        parts.append(f"case when {n} is distinct from {o} then {shown} end")
    packs = [",\n      ".join(parts[i : i + _MOST_ARGUMENTS]) for i in range(0, len(parts), _MOST_ARGUMENTS)]
    joined = [f"concat_ws(',',\n      {pack})" for pack in packs]
    several = ", ".join(f"nullif({part}, '')" for part in joined)
    inner = joined[0] if len(joined) == 1 else f"concat_ws(',', {several})"
    return f"'{{' || {inner} || '}}'"


def _images(entity: Entity[Any]) -> Iterator[str]:
    columns = ", ".join(f"{column_json(field, 'n')} as {name(field.name)}" for field in entity.fields.values())
    yield "if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then"
    yield "  perform app.keep_images(("
    yield f"    select coalesce(json_agg((select row_to_json(x) from (select {columns}) x)), '[]') from new_rows n"
    yield "  ));"
    yield "end if;"


def begin() -> str:
    """The name of the function that runs before each writing statement."""
    return "app.begin_operation()"


def bindings(entity: Entity[Any]) -> Iterator[str]:
    """The triggers themselves."""
    of = f"on public.{name(entity.resource)}"

    def call(suffix: str) -> str:
        return f"app.{name(entity.resource, suffix)}()"

    # Entries of the trail come complete from the triggers of other tables.
    direct = "\n  when (pg_trigger_depth() = 0)" if entity.resource == _AUDIT else ""
    events = "insert" if entity.append_only else "insert or update"
    yield f"create trigger a_begin before {events} {of}\n  for each statement{direct} execute function {begin()};"
    yield f"create trigger b_stamp before {events} {of}\n  for each row{direct} execute function {call('stamp')};"
    yield (
        f"create trigger c_created after insert {of} referencing new table as new_rows\n"
        f"  for each statement execute function {call('created')};"
    )
    if not entity.append_only:
        yield (
            f"create trigger c_updated after update {of} referencing old table as old_rows new table as new_rows\n"
            f"  for each statement execute function {call('updated')};"
        )
        yield (
            f"create trigger c_removed after delete {of} referencing old table as old_rows\n"
            f"  for each statement execute function {call('removed')};"
        )
