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
