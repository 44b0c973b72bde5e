-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.stages (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint stages_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  label text collate "C" not null constraint stages_label_check check (char_length(label) between 1 and 200),
  position bigint not null default 0 constraint stages_position_check check (position >= 0 and position <= 10000),
  probability bigint not null default 0 constraint stages_probability_check check (probability >= 0 and probability <= 100),
  type text collate "C" not null default 'open' constraint stages_type_check check (type in ('open', 'ongoing', 'on_hold', 'won', 'lost')),
  search_text text collate "C" generated always as (lower((label) collate pg_catalog."und-x-icu")) stored,
  constraint stages_pkey primary key (tenant_id, id)
);

create index stages_recent_idx on public.stages (tenant_id, created_at desc, id);
create unique index stages_label_key on public.stages (tenant_id, (lower(label collate pg_catalog."und-x-icu"))) where deleted_at is null;
create index stages_search_idx on public.stages using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('stages', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('stages', 'create', array['admin', 'manager', 'system']::text[]),
  ('stages', 'update', array['admin', 'manager', 'system']::text[]),
  ('stages', 'delete', array['admin', 'manager', 'system']::text[]),
  ('stages', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.stages from public, anon, authenticated, service_role;
grant select on public.stages to authenticated, service_role;
grant insert (id, label, position, probability, type) on public.stages to authenticated;
grant update (label, position, probability, type, deleted_at) on public.stages to authenticated;
grant insert, update, delete on public.stages to service_role;

alter table public.stages enable row level security;
alter table public.stages force row level security;
create policy stages_select on public.stages for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy stages_insert on public.stages for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'manager', 'system'));
create policy stages_update on public.stages for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'manager', 'system'));

create function app.stages_taken(r public.stages, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.stages t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;
  if holder is null then
    field := 'label';
    select t.id into holder from public.stages t
      where t.tenant_id = r.tenant_id and t.deleted_at is null and t.id <> r.id
        and lower(t.label collate pg_catalog."und-x-icu") = lower(r.label collate pg_catalog."und-x-icu");
  end if;
  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.stages_taken(public.stages, text) from public;
grant execute on function app.stages_taken(public.stages, text) to authenticated, service_role;

create function app.stages_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.stages_taken(new, tg_op) then
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
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'stages: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'stages: the role may not restore';
    end if;
  else
    new.search_text := old.search_text;
    if new is not distinct from old then
      return old;
    end if;
  end if;
  if new.deleted_at is null then
    if current_setting('app.duplicates', true) = 'skip' and app.stages_taken(new, tg_op) then
      return null;
    end if;
  end if;
  new.updated_at := now();
  new.updated_by := nullif(current_setting('app.user', true), '');
  new.version := old.version + 1;
  return new;
end $$;
revoke all on function app.stages_stamp() from public;

create function app.stages_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'stages', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'stages', n.id,
        '{}',
        (select row_to_json(x)::text from (select app.rfc3339(n.deleted_at) as "deletedAt", n.id as "id", n.label as "label", n.position as "position", n.probability as "probability", n.type as "type", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.label as label, n.position as position, n.probability as probability, n.type as type) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.stages_created() from public;

create function app.stages_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'stages', n.id, n.version, case
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
        else 'update' end, 'stages', n.id,
        '{' || concat_ws(',',
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.label is distinct from o.label then '"label":' || coalesce(to_json(o.label)::text, 'null') end,
      case when n.position is distinct from o.position then '"position":' || coalesce(to_json(o.position)::text, 'null') end,
      case when n.probability is distinct from o.probability then '"probability":' || coalesce(to_json(o.probability)::text, 'null') end,
      case when n.type is distinct from o.type then '"type":' || coalesce(to_json(o.type)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.label is distinct from o.label then '"label":' || coalesce(to_json(n.label)::text, 'null') end,
      case when n.position is distinct from o.position then '"position":' || coalesce(to_json(n.position)::text, 'null') end,
      case when n.probability is distinct from o.probability then '"probability":' || coalesce(to_json(n.probability)::text, 'null') end,
      case when n.type is distinct from o.type then '"type":' || coalesce(to_json(n.type)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.label as label, n.position as position, n.probability as probability, n.type as type) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.stages_updated() from public;
create function app.stages_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'stages', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'stages' and s.id = o.id;
  return null;
end $$;
revoke all on function app.stages_removed() from public;

create trigger a_begin before insert or update on public.stages
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.stages
  for each row execute function app.stages_stamp();
create trigger c_created after insert on public.stages referencing new table as new_rows
  for each statement execute function app.stages_created();
create trigger c_updated after update on public.stages referencing old table as old_rows new table as new_rows
  for each statement execute function app.stages_updated();
create trigger c_removed after delete on public.stages referencing old table as old_rows
  for each statement execute function app.stages_removed();

create function public.stages_search(needle text) returns setof public.stages
language sql stable security definer set search_path = '' as $$
  select t.* from public.stages t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.stages_search(text) from public, anon, authenticated, service_role;
grant execute on function public.stages_search(text) to authenticated, service_role;

create function app.stages_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.stages;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.stages, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'stages', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.stages (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, label, position, probability, type)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.label, r.position, r.probability, r.type)
          on conflict on constraint stages_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, label = excluded.label, position = excluded.position, probability = excluded.probability, type = excluded.type;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    exception when unique_violation then
      get stacked diagnostics broken = constraint_name;
      case broken
        when 'stages_label_key' then
          field := 'label';
          select t.id into existing from public.stages t where t.tenant_id = r.tenant_id
            and t.deleted_at is null and lower(t.label collate pg_catalog."und-x-icu") = lower(r.label collate pg_catalog."und-x-icu");
        else raise;
      end case;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', false, 'field', field, 'existing_id', existing);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.stages_put(jsonb, bigint) from public;

