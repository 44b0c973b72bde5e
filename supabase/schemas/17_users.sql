-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.users (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint users_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  email text collate "C" not null constraint users_email_check check (char_length(email) <= 254 and email ~ '^[^@\s]+@[^@\s]+\n?$'),
  display_name text collate "C" not null constraint users_display_name_check check (char_length(display_name) between 1 and 200),
  role text collate "C" not null default 'agent' constraint users_role_check check (role in ('admin', 'manager', 'agent', 'viewer')),
  active boolean not null default true,
  last_seen_at timestamptz constraint users_last_seen_at_check check (last_seen_at between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'),
  search_text text collate "C" generated always as (lower((email || E'\x1f' || display_name) collate pg_catalog."und-x-icu")) stored,
  constraint users_pkey primary key (tenant_id, id)
);

create index users_recent_idx on public.users (tenant_id, created_at desc, id);
create unique index users_email_key on public.users (tenant_id, (lower(email collate pg_catalog."und-x-icu"))) where deleted_at is null;
create index users_search_idx on public.users using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('users', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('users', 'create', array['admin', 'system']::text[]),
  ('users', 'update', array['admin', 'system']::text[]),
  ('users', 'delete', array['admin', 'system']::text[]),
  ('users', 'restore', array['admin', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.users from public, anon, authenticated, service_role;
grant select on public.users to authenticated, service_role;
grant insert (id, email, display_name, role, active, last_seen_at) on public.users to authenticated;
grant update (email, display_name, role, active, last_seen_at, deleted_at) on public.users to authenticated;
grant insert, update, delete on public.users to service_role;

alter table public.users enable row level security;
alter table public.users force row level security;
create policy users_select on public.users for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy users_insert on public.users for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'system'));
create policy users_update on public.users for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'system'));

create function app.users_taken(r public.users, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.users t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;
  if holder is null then
    field := 'email';
    select t.id into holder from public.users t
      where t.tenant_id = r.tenant_id and t.deleted_at is null and t.id <> r.id
        and lower(t.email collate pg_catalog."und-x-icu") = lower(r.email collate pg_catalog."und-x-icu");
  end if;
  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.users_taken(public.users, text) from public;
grant execute on function app.users_taken(public.users, text) to authenticated, service_role;

create function app.users_stamp() returns trigger language plpgsql set search_path = '' as $$
declare
  trusted constant boolean := current_user not in ('authenticated', 'anon');
begin
  if trusted and current_setting('app.putting', true) = 'on' then
    return new;
  end if;
  if tg_op = 'INSERT' then
    if not trusted or new.tenant_id is null then
      new.tenant_id := nullif(current_setting('app.tenant', true), '');
    end if;
    if new.tenant_id is null then
      raise sqlstate '42501' using message = 'the token names no tenant';
    end if;
    new.id := coalesce(new.id, app.new_id());
    new.created_at := now();
    new.updated_at := new.created_at;
    if not trusted or new.created_by is null then
      new.created_by := nullif(current_setting('app.user', true), '');
    end if;
    new.updated_by := new.created_by;
    new.version := 1;
    new.deleted_at := null;
    if current_setting('app.duplicates', true) = 'skip' and app.users_taken(new, tg_op) then
      return null;
    end if;
    return new;
  end if;
  if old.deleted_at is not null and new.deleted_at is not null then
    return null;
  end if;
  new.tenant_id := old.tenant_id;
  new.id := old.id;
  new.created_at := old.created_at;
  new.created_by := old.created_by;
  new.updated_at := old.updated_at;
  new.updated_by := old.updated_by;
  new.version := old.version;
  if new.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'system') is not true then
      raise sqlstate '42501' using message = 'users: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'system') is not true then
      raise sqlstate '42501' using message = 'users: the role may not restore';
    end if;
  else
    new.search_text := old.search_text;
    if new is not distinct from old then
      return old;
    end if;
  end if;
  if new.deleted_at is null then
    if current_setting('app.duplicates', true) = 'skip' and app.users_taken(new, tg_op) then
      return null;
    end if;
  end if;
  new.updated_at := now();
  new.updated_by := nullif(current_setting('app.user', true), '');
  new.version := old.version + 1;
  return new;
end $$;
revoke all on function app.users_stamp() from public;

create function app.users_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'users', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'users', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.active as "active", app.rfc3339(n.deleted_at) as "deletedAt", n.display_name as "displayName", n.email as "email", n.id as "id", app.rfc3339(n.last_seen_at) as "lastSeenAt", n.role as "role", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.email as email, n.display_name as display_name, n.role as role, n.active as active, n.last_seen_at as last_seen_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.users_created() from public;

create function app.users_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'users', n.id, n.version, case
      when n.deleted_at is not null then 'deleted'
      when o.deleted_at is not null and current_setting('app.putting', true) = 'on' is not true then 'restored'
      else 'updated' end from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version or current_setting('app.putting', true) = 'on';
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        case
        when n.deleted_at is not null then 'delete'
        when o.deleted_at is not null then 'restore'
        else 'update' end, 'users', n.id,
        '{' || concat_ws(',',
      case when n.active is distinct from o.active then '"active":' || coalesce(to_json(o.active)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.display_name is distinct from o.display_name then '"displayName":' || coalesce(to_json(o.display_name)::text, 'null') end,
      case when n.email is distinct from o.email then '"email":' || coalesce(to_json(o.email)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.last_seen_at is distinct from o.last_seen_at then '"lastSeenAt":' || coalesce(to_json(app.rfc3339(o.last_seen_at))::text, 'null') end,
      case when n.role is distinct from o.role then '"role":' || coalesce(to_json(o.role)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.active is distinct from o.active then '"active":' || coalesce(to_json(n.active)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.display_name is distinct from o.display_name then '"displayName":' || coalesce(to_json(n.display_name)::text, 'null') end,
      case when n.email is distinct from o.email then '"email":' || coalesce(to_json(n.email)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.last_seen_at is distinct from o.last_seen_at then '"lastSeenAt":' || coalesce(to_json(app.rfc3339(n.last_seen_at))::text, 'null') end,
      case when n.role is distinct from o.role then '"role":' || coalesce(to_json(n.role)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.email as email, n.display_name as display_name, n.role as role, n.active as active, n.last_seen_at as last_seen_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.users_updated() from public;
create function app.users_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'users', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'users' and s.id = o.id;
  return null;
end $$;
revoke all on function app.users_removed() from public;

create trigger a_begin before insert or update on public.users
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.users
  for each row execute function app.users_stamp();
create trigger c_created after insert on public.users referencing new table as new_rows
  for each statement execute function app.users_created();
create trigger c_updated after update on public.users referencing old table as old_rows new table as new_rows
  for each statement execute function app.users_updated();
create trigger c_removed after delete on public.users referencing old table as old_rows
  for each statement execute function app.users_removed();

create function public.users_search(needle text) returns setof public.users
language sql stable security definer set search_path = '' as $$
  select t.* from public.users t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.users_search(text) from public, anon, authenticated, service_role;
grant execute on function public.users_search(text) to authenticated, service_role;

create function app.users_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.users;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.users, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'users', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.users (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, email, display_name, role, active, last_seen_at)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.email, r.display_name, r.role, r.active, r.last_seen_at)
          on conflict on constraint users_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, email = excluded.email, display_name = excluded.display_name, role = excluded.role, active = excluded.active, last_seen_at = excluded.last_seen_at;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    exception when unique_violation then
      get stacked diagnostics broken = constraint_name;
      case broken
        when 'users_email_key' then
          field := 'email';
          select t.id into existing from public.users t where t.tenant_id = r.tenant_id
            and t.deleted_at is null and lower(t.email collate pg_catalog."und-x-icu") = lower(r.email collate pg_catalog."und-x-icu");
        else raise;
      end case;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', false, 'field', field, 'existing_id', existing);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.users_put(jsonb, bigint) from public;

