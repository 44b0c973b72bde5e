-- What only Interlock itself may do, by the role `system` of a token that it signs: put exact images, and forward the trail.

create function app.only_system() returns void language plpgsql stable security definer set search_path = '' as $$
begin
  if app.role() is distinct from 'system' then
    raise sqlstate '42501' using message = 'only Interlock itself does this';
  end if;
end $$;
revoke all on function app.only_system() from public;

-- Exact images of rows, by column names (a place as EWKT), where the stored sequence is lower. One outcome each, in order:
-- {id, written}, and {field, existing_id} where another row has the unique value. Under an operation id they are kept, and
-- answered again, as those of other writes are.
create function public.interlock_put(resource text, rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  headers constant json := nullif(current_setting('request.headers', true), '')::json;
  named constant text := nullif(headers ->> 'x-interlock-operation', '');
  operation constant text := coalesce(substring(named from '^(.*)/[^/]*$'), named);
  part constant text := coalesce(substring(named from '/([^/]*)$'), '0');
  outcomes jsonb;
begin
  perform app.only_system();
  if not exists (select from app.permissions p where p.resource = interlock_put.resource) then
    raise sqlstate 'PT404' using message = 'unknown_resource';
  end if;
  if named is not null then
    perform app.remember_operation(
      app.tenant_id(), app.user_id(), operation, part, coalesce(headers ->> 'x-interlock-fingerprint', ''));
  end if;
  perform set_config('app.putting', 'on', true);
  execute format('select app.%I($1, $2)', resource || '_put') into outcomes using rows, sequence;
  perform set_config('app.putting', '', true);
  if named is not null then
    update app.operations o set rejected = outcomes::json
      where o.tenant_id = app.tenant_id() and o.operation_id = operation and o.step = part;
  end if;
  return outcomes;
end $$;

-- The oldest entries that nobody has acknowledged, of all tenants.
create function public.interlock_pending_audit("limit" integer) returns setof public.audit
language plpgsql stable security definer set search_path = '' as $$
begin
  perform app.only_system();
  return query
    select a.* from app.pending_audit p join public.audit a on a.tenant_id = p.tenant_id and a.id = p.id
    order by p.at, p.tenant_id, p.id limit "limit";
end $$;

create function public.interlock_acknowledge_audit(ids text[]) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform app.only_system();
  delete from app.pending_audit p where p.id = any (ids);
end $$;

revoke all on function public.interlock_put(text, jsonb, bigint), public.interlock_pending_audit(integer),
  public.interlock_acknowledge_audit(text[]) from public, anon, authenticated, service_role;
grant execute on function public.interlock_put(text, jsonb, bigint), public.interlock_pending_audit(integer),
  public.interlock_acknowledge_audit(text[]) to authenticated;
