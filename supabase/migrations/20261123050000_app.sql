-- What every table's policies and triggers lean on: the schema `app`, which no API serves.

create extension if not exists pg_trgm with schema extensions;
create extension if not exists btree_gin with schema extensions;
create extension if not exists pgcrypto with schema extensions;
create extension if not exists postgis with schema extensions;

create schema if not exists app;
revoke all on schema app from public;
grant usage on schema app to anon, authenticated, service_role;

-- A new UUIDv7. Bound at creation (`return`), so that no search path is needed and the call can be inlined.
create function app.new_id() returns text language sql volatile parallel safe
return encode(
  set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid())
      placing substring(int8send((date_part('epoch', clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid::text;
revoke all on function app.new_id() from public;
grant execute on function app.new_id() to authenticated, service_role;

-- A time as JSON has it: RFC 3339 in UTC, microseconds where there are any.
create function app.rfc3339(at timestamptz) returns text language sql stable parallel safe
return replace(to_char(at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z');

-- A place as JSON has it.
create function app.lat_lon(place extensions.geography) returns jsonb language sql stable parallel safe
return case when place is not null then
  jsonb_build_object('lat', extensions.st_y(place::extensions.geometry), 'lon', extensions.st_x(place::extensions.geometry))
end;

-- True where every item is a text of so many characters, and there is no list within the list.
create function app.texts_fit(items text[], shortest integer, longest integer) returns boolean
language plpgsql immutable parallel safe set search_path = '' as $$
declare
  item text;
begin
  if array_ndims(items) > 1 then
    return false;
  end if;
  foreach item in array items loop
    if item is null or char_length(item) not between shortest and longest then
      return false;
    end if;
  end loop;
  return true;
end $$;

revoke all on function app.rfc3339(timestamptz), app.lat_lon(extensions.geography), app.texts_fit(text[], integer, integer)
  from public;
grant execute on function app.rfc3339(timestamptz), app.lat_lon(extensions.geography), app.texts_fit(text[], integer, integer)
  to authenticated, service_role;

-- Who may do what with the rows of a resource; each table's own file fills in its lines.
create table app.permissions (
  resource text collate "C" not null,
  action text collate "C" not null,
  roles text[] not null,
  primary key (resource, action)
);

create table app.tenants (
  id text collate "C" primary key,
  name text not null default ''
);

-- What the users' table says of each user, kept by a trigger on it. Wins over what a token says.
create table app.memberships (
  tenant_id text collate "C" not null,
  user_id text collate "C" not null,
  role text collate "C" not null check (role in ('admin', 'manager', 'agent', 'viewer')),
  revoked_at timestamptz,
  primary key (tenant_id, user_id)
);

-- The last number given of each numbered resource.
create table app.counters (
  tenant_id text collate "C" not null,
  resource text collate "C" not null,
  value bigint not null,
  primary key (tenant_id, resource)
);

-- The sequence under which each copied row was last put.
create table app.sequences (
  tenant_id text collate "C" not null,
  resource text collate "C" not null,
  id text collate "C" not null,
  sequence bigint not null,
  primary key (tenant_id, resource, id)
);

alter table app.permissions enable row level security;
alter table app.tenants enable row level security;
alter table app.memberships enable row level security;
alter table app.counters enable row level security;
alter table app.sequences enable row level security;
revoke all on app.permissions, app.tenants, app.memberships, app.counters, app.sequences
  from public, anon, authenticated, service_role;

-- Who calls: from the token's app_metadata, which no user can change, and never from user_metadata. A membership wins over the
-- token, and a revoked one leaves no tenant. `system` is Interlock's own: no membership has it, and none is asked for.
create function app.caller(out tenant_id text, out user_id text, out role text)
language plpgsql stable security definer set search_path = '' as $$
declare
  claims constant jsonb := auth.jwt();
  member record;
begin
  tenant_id := nullif(claims #>> '{app_metadata,tenant_id}', '');
  user_id := coalesce(nullif(claims #>> '{app_metadata,user_id}', ''), claims ->> 'sub');
  role := claims #>> '{app_metadata,role}';
  if tenant_id is null or role is null then
    tenant_id := null;
    role := null;
  elsif role <> 'system' then
    select m.role, m.revoked_at into member
      from app.memberships m where m.tenant_id = caller.tenant_id and m.user_id = caller.user_id;
    if found then
      role := case when member.revoked_at is null then member.role end;
      tenant_id := case when member.revoked_at is null then tenant_id end;
    end if;
  end if;
end $$;

create function app.tenant_id() returns text language sql stable security definer set search_path = '' as $$
  select c.tenant_id from app.caller() c
$$;

create function app.user_id() returns text language sql stable security definer set search_path = '' as $$
  select c.user_id from app.caller() c
$$;

create function app.role() returns text language sql stable security definer set search_path = '' as $$
  select c.role from app.caller() c
$$;

-- True where the caller's role may take the action on the resource.
create function app.may(action text, resource text) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce((
    select app.role() = any (p.roles) from app.permissions p where p.resource = may.resource and p.action = may.action
  ), false)
$$;

-- The resources that the caller's role may read.
create function app.readable() returns text[] language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(p.resource), '{}') from app.permissions p where p.action = 'list' and app.role() = any (p.roles)
$$;

-- A request of a revoked user ends here, before it reaches a table; so does one for the planner's estimates, which policies don't hold.
create function app.check_request() returns void language plpgsql stable security definer set search_path = '' as $$
declare
  claims constant jsonb := auth.jwt();
begin
  if claims #>> '{app_metadata,role}' is distinct from 'system' and exists (
    select from app.memberships m
    where m.tenant_id = claims #>> '{app_metadata,tenant_id}'
      and m.user_id = coalesce(nullif(claims #>> '{app_metadata,user_id}', ''), claims ->> 'sub')
      and m.revoked_at is not null
  ) then
    raise sqlstate 'PT401' using message = 'user_revoked', detail = 'the user was deactivated or deleted';
  end if;
  if claims ->> 'role' is distinct from 'service_role'
    and nullif(current_setting('request.headers', true), '')::json ->> 'prefer' ~* 'count\s*=\s*(planned|estimated)' then
    raise sqlstate 'PT400' using message = 'count_estimated',
      detail = 'estimates are made of all tenants'' rows, and would tell of theirs', hint = 'ask for count=exact';
  end if;
end $$;

revoke all on function app.caller(), app.tenant_id(), app.user_id(), app.role(), app.may(text, text), app.readable(),
  app.check_request() from public;
grant execute on function app.caller(), app.tenant_id(), app.user_id(), app.role(), app.may(text, text), app.readable()
  to authenticated, service_role;
grant execute on function app.check_request() to anon, authenticated, service_role;

alter role authenticator set pgrst.db_pre_request = 'app.check_request';
notify pgrst, 'reload config';

-- The next number of a resource in a tenant. The counter is locked once for a statement, counted on in a setting of the
-- transaction, and written back when the statement ends: a row updated a thousand times in one transaction would be slow.
create function app.next_number(resource text, tenant text) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  setting constant text := 'app.number_' || resource;
  held constant text := nullif(current_setting(setting, true), '');
  number bigint;
begin
  if held is not null and split_part(held, ':', 2) = tenant then
    number := split_part(held, ':', 1)::bigint + 1;
  else
    perform app.keep_number(resource);
    insert into app.counters as c (tenant_id, resource, value) values (tenant, next_number.resource, 0)
      on conflict on constraint counters_pkey do nothing;
    select c.value + 1 into number from app.counters c
      where c.tenant_id = tenant and c.resource = next_number.resource for update;
  end if;
  perform set_config(setting, number || ':' || tenant, true);
  return number;
end $$;

-- Write back the number counted to.
create function app.keep_number(resource text) returns void
language plpgsql volatile security definer set search_path = '' as $$
declare
  setting constant text := 'app.number_' || resource;
  held constant text := nullif(current_setting(setting, true), '');
begin
  if held is not null then
    update app.counters c set value = greatest(c.value, split_part(held, ':', 1)::bigint)
      where c.tenant_id = split_part(held, ':', 2) and c.resource = keep_number.resource;
    perform set_config(setting, '', true);
  end if;
end $$;

revoke all on function app.next_number(text, text), app.keep_number(text) from public;
grant execute on function app.next_number(text, text) to authenticated, service_role;

-- The counter is at least this, after a row with such a number was put.
create function app.raise_counter(resource text, tenant text, number bigint) returns void
language sql volatile security definer set search_path = '' as $$
  insert into app.counters as c (tenant_id, resource, value) values (tenant, resource, number)
    on conflict on constraint counters_pkey do update set value = greatest(c.value, excluded.value)
$$;
revoke all on function app.raise_counter(text, text, bigint) from public;

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

-- The log of accepted writes, that watchers read. Realtime tells of its rows; they are read from here.

create table public.changes (
  tenant_id text collate "C" not null,
  position bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  resource text collate "C" not null,
  record_id text collate "C" not null,
  version bigint not null,
  kind text collate "C" not null check (kind in ('created', 'updated', 'deleted', 'restored')),
  at timestamptz not null default now()
);
create index changes_window_idx on public.changes (tenant_id, resource, xid, position);
create index changes_at_idx on public.changes using brin (at);

alter table public.changes enable row level security;
alter table public.changes force row level security;
create policy changes_select on public.changes for select to authenticated
  using (tenant_id = (select app.tenant_id()) and resource = any ((select app.readable())::text[]));

revoke all on public.changes from public, anon, authenticated, service_role;
grant select on public.changes to authenticated, service_role;
-- How many writes all tenants made is nobody's to read.
revoke all on sequence public.changes_position_seq from public, anon, authenticated, service_role;

alter publication supabase_realtime add table public.changes;

-- The entries of the trail that nobody has acknowledged yet.

create table app.pending_audit (
  tenant_id text collate "C" not null,
  id text collate "C" not null,
  at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index pending_audit_at_idx on app.pending_audit (at, tenant_id, id);
alter table app.pending_audit enable row level security;
revoke all on app.pending_audit from public, anon, authenticated, service_role;
