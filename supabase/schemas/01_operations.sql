-- Operation ids: a write that carries one is recorded in its own transaction, and sent again it answers as at first.

create table app.operations (
  tenant_id text collate "C" not null,
  operation_id text collate "C" not null,
  step text collate "C" not null,
  fingerprint text collate "C" not null,
  user_id text collate "C",
  rows json not null default '[]',
  rejected json not null default '[]',
  at timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id(),
  primary key (tenant_id, operation_id, step)
);
alter table app.operations enable row level security;
revoke all on app.operations from public, anon, authenticated, service_role;
create index operations_at_idx on app.operations (at);

-- Forget operations older than `keep`, `most` of them; answers how many. A write sent again after that is a new one. One of a hundred
-- recorded writes does it by the way.
create function app.prune_operations(keep interval default '30 days', most integer default 10000) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  pruned bigint;
begin
  delete from app.operations o using (
    select p.tenant_id, p.operation_id, p.step from app.operations p where p.at < now() - keep order by p.at limit most
      for update skip locked
  ) old where (o.tenant_id, o.operation_id, o.step) = (old.tenant_id, old.operation_id, old.step);
  get diagnostics pruned = row_count;
  return pruned;
end $$;
revoke all on function app.prune_operations(interval, integer) from public;
grant execute on function app.prune_operations(interval, integer) to service_role;

-- Begin the operation, or answer for it: raises PT409 with what it answered at first, PT422 where it was another request.
create function app.remember_operation(tenant text, caller_id text, operation text, part text, mark text) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  known record;
begin
  insert into app.operations (tenant_id, operation_id, step, fingerprint, user_id)
    values (tenant, operation, part, mark, caller_id) on conflict on constraint operations_pkey do nothing;
  if found then
    if random() < 0.01 then
      perform app.prune_operations('30 days', 200);
    end if;
    return;
  end if;
  select o.fingerprint, o.user_id, o.rows, o.rejected, o.xid into known from app.operations o
    where o.tenant_id = tenant and o.operation_id = operation and o.step = part;
  if known.fingerprint <> mark or known.user_id is distinct from caller_id then
    raise sqlstate 'PT422' using message = 'operation_reused', detail = 'the operation id was used for another request';
  elsif known.xid <> pg_current_xact_id() then
    raise sqlstate 'PT409' using message = 'operation_done',
      detail = json_build_object('rows', known.rows, 'rejected', known.rejected)::text;
  end if;
end $$;
revoke all on function app.remember_operation(text, text, text, text, text) from public;
grant execute on function app.remember_operation(text, text, text, text, text) to authenticated, service_role;

-- A text with its %XX escapes undone: a header carries plain letters only.
create function app.unescaped(text text) returns text language sql immutable parallel safe set search_path = '' as $$
  select case when strpos(text, '%') = 0 then text else (
    select convert_from(string_agg(
      case when part[1] like '\%__' then decode(substr(part[1], 2), 'hex') else convert_to(part[1], 'UTF8') end, ''::bytea order by place), 'UTF8')
    from regexp_matches(text, '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') with ordinality m (part, place)) end
$$;
revoke all on function app.unescaped(text) from public;
grant execute on function app.unescaped(text) to authenticated, service_role;

-- Before each writing statement: who writes is put where the row triggers read it, and the operation is begun. It runs as the
-- caller, so that nobody but the owner's functions can claim to be putting images.
-- Headers: x-interlock-operation (<id>/<step>), x-interlock-fingerprint, x-interlock-epoch, x-interlock-duplicates.
create function app.begin_operation() returns trigger language plpgsql set search_path = '' as $$
declare
  headers constant json := nullif(current_setting('request.headers', true), '')::json;
  named constant text := nullif(headers ->> 'x-interlock-operation', '');
  putting constant boolean := current_user not in ('authenticated', 'anon')
    and coalesce(current_setting('app.putting', true), '') = 'on';
  caller record;
  operation text := '';
  part text := '';
begin
  select * into caller from app.caller();
  perform set_config('app.putting', case when putting then 'on' else '' end, true),
          set_config('app.tenant', coalesce(caller.tenant_id, ''), true),
          set_config('app.user', coalesce(caller.user_id, ''), true),
          set_config('app.duplicates', coalesce(headers ->> 'x-interlock-duplicates', ''), true),
          set_config('app.rejected', '', true),
          set_config('app.epoch', coalesce(substring(headers ->> 'x-interlock-epoch' from '^\d{1,15}$'), '0'), true);
  if named is not null and caller.tenant_id is not null and not putting then
    operation := coalesce(substring(named from '^(.*)/[^/]*$'), named);
    part := coalesce(substring(named from '/([^/]*)$'), '0');
    perform app.remember_operation(
      caller.tenant_id, caller.user_id, operation, part, coalesce(headers ->> 'x-interlock-fingerprint', ''));
  end if;
  perform set_config('app.operation', operation, true), set_config('app.step', part, true),
          set_config('app.operation_id', app.unescaped(operation), true);
  return null;
end $$;
revoke all on function app.begin_operation() from public;

-- A row that was left out because another has its id or unique value: [id, [code, field, who has it]].
create function app.keep_rejection(id text, field text, holder text) returns void
language sql volatile security definer set search_path = '' as $$
  select set_config('app.rejected', concat_ws(',', nullif(current_setting('app.rejected', true), ''),
    json_build_array(id, json_build_array('duplicate', field, holder))::text), true)
$$;
revoke all on function app.keep_rejection(text, text, text) from public;

-- The images of the rows that a statement wrote, and the rows that it left out, kept with its operation.
create function app.keep_images(images json) returns void language sql volatile security definer set search_path = '' as $$
  update app.operations o
    set rows = case when o.rows::text = '[]' then images else (o.rows::jsonb || images::jsonb)::json end,
      rejected = case when current_setting('app.rejected', true) <> ''
        then (o.rejected::jsonb || ('[' || current_setting('app.rejected') || ']')::jsonb)::json else o.rejected end
    where o.tenant_id = current_setting('app.tenant') and o.operation_id = current_setting('app.operation')
      and o.step = current_setting('app.step') and images is not null
$$;

-- The row triggers read who writes from settings; what they wrote is held to the token once more, for all rows at once.
create function app.refuse_forged() returns void language plpgsql security definer set search_path = '' as $$
begin
  raise sqlstate '42501' using message = 'the rows are not stamped as the caller''s';
end $$;
revoke all on function app.keep_images(json), app.refuse_forged() from public;

-- What became of the items that no row came back for: decided by the client, kept so that a repeated request answers the same.
-- Answers what is kept: of several who decide at once, the first.
create function public.interlock_reject(operation_id text, step text, fingerprint text, rejected jsonb) returns json
language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  caller record;
  kept json;
begin
  select * into caller from app.caller();
  if caller.tenant_id is null then
    raise sqlstate '42501' using message = 'no tenant';
  end if;
  insert into app.operations as o (tenant_id, operation_id, step, fingerprint, user_id, rejected)
    values (caller.tenant_id, operation_id, step, fingerprint, caller.user_id, rejected::json)
    on conflict on constraint operations_pkey do update
      set rejected = case when o.rejected::text = '[]' then excluded.rejected else o.rejected end
      where o.fingerprint = excluded.fingerprint and o.user_id is not distinct from excluded.user_id
    returning o.rejected into kept;
  if not found then
    raise sqlstate 'PT422' using message = 'operation_reused', detail = 'the operation id was used for another request';
  end if;
  return kept;
end $$;
revoke all on function public.interlock_reject(text, text, text, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.interlock_reject(text, text, text, jsonb) to authenticated;
