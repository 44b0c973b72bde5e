-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.audit (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint audit_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  actor text collate "C" not null constraint audit_actor_check check (char_length(actor) between 1 and 200),
  action text collate "C" not null constraint audit_action_check check (char_length(action) between 1 and 200),
  target text collate "C" not null constraint audit_target_check check (char_length(target) between 1 and 200),
  record_id text collate "C" not null default '' constraint audit_record_id_check check (char_length(record_id) <= 200),
  before text collate "C" not null default '{}',
  after text collate "C" not null default '{}',
  backend text collate "C" not null default '' constraint audit_backend_check check (char_length(backend) <= 200),
  epoch bigint not null default 0,
  operation_id text collate "C" not null default '' constraint audit_operation_id_check check (char_length(operation_id) <= 200),
  search_text text collate "C" generated always as (lower((action || E'\x1f' || target) collate pg_catalog."und-x-icu")) stored,
  constraint audit_pkey primary key (tenant_id, id)
);

create index audit_recent_idx on public.audit (tenant_id, created_at desc, id);
create index audit_search_idx on public.audit using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('audit', 'list', array['admin', 'manager', 'system']::text[]),
  ('audit', 'create', array['system']::text[]),
  ('audit', 'update', array['system']::text[]),
  ('audit', 'delete', array['system']::text[]),
  ('audit', 'restore', array['system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.audit from public, anon, authenticated, service_role;
grant select on public.audit to authenticated, service_role;
grant insert (id, actor, action, target, record_id, before, after, backend, epoch, operation_id) on public.audit to authenticated;
grant insert on public.audit to service_role;

alter table public.audit enable row level security;
alter table public.audit force row level security;
create policy audit_select on public.audit for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'manager', 'system'));
create policy audit_insert on public.audit for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('system'));

create function app.audit_taken(r public.audit, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.audit t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.audit_taken(public.audit, text) from public;
grant execute on function app.audit_taken(public.audit, text) to authenticated, service_role;

create function app.audit_stamp() returns trigger language plpgsql set search_path = '' as $$
declare
  trusted constant boolean := current_user not in ('authenticated', 'anon');
begin
  if trusted and current_setting('app.putting', true) = 'on' then
    return new;
  end if;
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
  if current_setting('app.duplicates', true) = 'skip' and app.audit_taken(new, tg_op) then
    return null;
  end if;
  return new;
end $$;
revoke all on function app.audit_stamp() from public;

create function app.audit_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'audit', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.actor as actor, n.action as action, n.target as target, n.record_id as record_id, n.before as before, n.after as after, n.backend as backend, n.epoch as epoch, n.operation_id as operation_id) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.audit_created() from public;

create trigger a_begin before insert on public.audit
  for each statement
  when (pg_trigger_depth() = 0) execute function app.begin_operation();
create trigger b_stamp before insert on public.audit
  for each row
  when (pg_trigger_depth() = 0) execute function app.audit_stamp();
create trigger c_created after insert on public.audit referencing new table as new_rows
  for each statement execute function app.audit_created();

create function public.audit_search(needle text) returns setof public.audit
language sql stable security definer set search_path = '' as $$
  select t.* from public.audit t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'manager', 'system')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.audit_search(text) from public, anon, authenticated, service_role;
grant execute on function public.audit_search(text) to authenticated, service_role;

create function app.audit_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.audit;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.audit, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'audit', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.audit (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, actor, action, target, record_id, before, after, backend, epoch, operation_id)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.actor, r.action, r.target, r.record_id, r.before, r.after, r.backend, r.epoch, r.operation_id)
          on conflict on constraint audit_pkey do nothing;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.audit_put(jsonb, bigint) from public;

