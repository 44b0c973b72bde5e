"""The functions of a table: a place as JSON, search, near, and putting exact images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interlock.backends.supabase.schema.columns import literal, name
from interlock.backends.supabase.schema.tables import FOLDED, Roles, unique_expression
from interlock.entity import Entity

__all__ = ["near", "places", "put", "search"]


def places(entity: Entity[Any]) -> Iterator[str]:
    """Computed fields: PostgREST serves `<field>_point` as if it were a column."""
    for field in entity.fields.values():
        if field.kind == "point":
            made, row = name(field.name, "point"), f"public.{name(entity.resource)}"
            yield (
                f"create function public.{made}({row}) returns jsonb language sql stable parallel safe\n"
                f"return app.lat_lon(($1).{name(field.name)});"
            )
            yield from _only_users(f"public.{made}({row})")


def search(entity: Entity[Any], roles: Roles) -> Iterator[str]:
    """The rows that hold a text, whatever its case, every character literal. As the owner, with the tenant's condition within:
    under row level security the index could not be used."""
    if not entity.searchable:
        return
    made = f"public.{name(entity.resource, 'search')}"
    yield f"""\
create function {made}(needle text) returns setof public.{name(entity.resource)}
language sql stable security definer set search_path = '' as $$
  select t.* from public.{name(entity.resource)} t
  where t.tenant_id = (select app.tenant_id()) and {_readers(entity, roles)}
    and t.search_text like '%' || replace(replace(replace(lower(needle collate {FOLDED}), '\\', '\\\\'), '%', '\\%'), '_', '\\_') || '%'
$$;"""
    yield from _only_users(f"{made}(text)")


def near(entity: Entity[Any], roles: Roles) -> Iterator[str]:
    """The rows within a great circle, the nearest first."""
    if not entity.location:
        return
    made, place = f"public.{name(entity.resource, 'near')}", name(entity.location)
    here = "extensions.st_setsrid(extensions.st_makepoint(lon, lat), 4326)::extensions.geography"
    yield f"""\
create function {made}(lat double precision, lon double precision, km double precision)
returns setof public.{name(entity.resource)} language sql stable security definer set search_path = '' as $$
  select t.* from public.{name(entity.resource)} t
  where t.tenant_id = (select app.tenant_id()) and {_readers(entity, roles)}
    and extensions.st_dwithin(t.{place}, {here}, km * 1000, false)
  order by extensions.st_distance(t.{place}, {here}, false), t.id
$$;"""
    yield from _only_users(f"{made}(double precision, double precision, double precision)")


def put(entity: Entity[Any]) -> Iterator[str]:
    """Exact images under a sequence guard, one outcome for each: written, left as it is, or in the way of a unique value."""
    made = f"app.{name(entity.resource, 'put')}"
    columns = [name(field) for field in entity.fields]
    changed = ", ".join(f"{c} = excluded.{c}" for c in columns if c not in ("id", "tenant_id"))
    append = entity.resource == "audit"
    conflict = "nothing" if append else f"update set {changed}"
    resource = literal(entity.resource)
    cases = "\n".join(
        f"        when {literal(name(entity.resource, u.field, 'key'))} then\n"
        f"          field := {literal(u.field)};\n"
        f"          select t.id into existing from public.{name(entity.resource)} t where t.tenant_id = r.tenant_id\n"
        f"            and t.deleted_at is null and {unique_expression(u, 't.')} = {unique_expression(u, 'r.')};"
        for u in entity.unique
    )
    refused = (
        f"""\
    exception when unique_violation then
      get stacked diagnostics broken = constraint_name;
      case broken
{cases}
        else raise;
      end case;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', false, 'field', field, 'existing_id', existing);
    end;"""
        if entity.unique
        else "    end;"
    )
    number = (
        f"    perform app.raise_counter({resource}, r.tenant_id, r.{name(entity.sequence)});\n"
        if entity.sequence
        else ""
    )
    yield f"""\
create function {made}(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.{name(entity.resource)};
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.{name(entity.resource)}, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, {resource}, r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.{name(entity.resource)} ({", ".join(columns)})
          values ({", ".join(f"r.{c}" for c in columns)})
          on conflict on constraint {name(entity.resource, "pkey")} do {conflict};
        get diagnostics taken = row_count;
{number}      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
{refused}
  end loop;
  return outcomes;
end $$;"""
    yield f"revoke all on function {made}(jsonb, bigint) from public;"


def _readers(entity: Entity[Any], roles: Roles) -> str:
    able = ", ".join(literal(role) for role in sorted(roles(entity.resource, "list")))
    return f"(select app.role()) in ({able})" if able else "false"


def _only_users(signature: str) -> Iterator[str]:
    yield f"revoke all on function {signature} from public, anon, authenticated, service_role;"
    yield f"grant execute on function {signature} to authenticated, service_role;"
