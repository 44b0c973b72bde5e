-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.tickets (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint tickets_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  number bigint not null default 0,
  subject text collate "C" not null constraint tickets_subject_check check (char_length(subject) between 1 and 200),
  description text collate "C" constraint tickets_description_check check (char_length(description) <= 20000),
  customer_id text collate "C",
  status text collate "C" not null default 'open' constraint tickets_status_check check (status in ('open', 'in_progress', 'waiting', 'resolved', 'closed')),
  priority text collate "C" not null default 'normal' constraint tickets_priority_check check (priority in ('low', 'normal', 'high', 'urgent')),
  category text collate "C" constraint tickets_category_check check (char_length(category) <= 200),
  assigned_to text collate "C",
  due_at timestamptz constraint tickets_due_at_check check (due_at between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'),
  resolved_at timestamptz constraint tickets_resolved_at_check check (resolved_at between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'),
  search_text text collate "C" generated always as (lower((subject || E'\x1f' || coalesce(description, '')) collate pg_catalog."und-x-icu")) stored,
  constraint tickets_pkey primary key (tenant_id, id)
);

create index tickets_recent_idx on public.tickets (tenant_id, created_at desc, id);
create index tickets_customer_id_idx on public.tickets (tenant_id, customer_id);
create index tickets_assigned_to_idx on public.tickets (tenant_id, assigned_to);
create index tickets_search_idx on public.tickets using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('tickets', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('tickets', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('tickets', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('tickets', 'delete', array['admin', 'manager', 'system']::text[]),
  ('tickets', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.tickets from public, anon, authenticated, service_role;
grant select on public.tickets to authenticated, service_role;
grant insert (id, subject, description, customer_id, status, priority, category, assigned_to, due_at, resolved_at) on public.tickets to authenticated;
grant update (subject, description, customer_id, status, priority, category, assigned_to, due_at, resolved_at, deleted_at) on public.tickets to authenticated;
grant insert, update, delete on public.tickets to service_role;

alter table public.tickets enable row level security;
alter table public.tickets force row level security;
create policy tickets_select on public.tickets for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy tickets_insert on public.tickets for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy tickets_update on public.tickets for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.tickets_taken(r public.tickets, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.tickets t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.tickets_taken(public.tickets, text) from public;
grant execute on function app.tickets_taken(public.tickets, text) to authenticated, service_role;

create function app.tickets_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.tickets_taken(new, tg_op) then
      return null;
    end if;
    new.number := app.next_number('tickets', new.tenant_id);
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
  new.number := old.number;
  if new.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'tickets: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'tickets: the role may not restore';
    end if;
  else
    new.search_text := old.search_text;
    if new is not distinct from old then
      return old;
    end if;
  end if;
  new.updated_at := now();
  new.updated_by := nullif(current_setting('app.user', true), '');
  new.version := old.version + 1;
  return new;
end $$;
revoke all on function app.tickets_stamp() from public;

create function app.tickets_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'tickets', n.id, n.version, 'created' from new_rows n;
  perform app.keep_number('tickets');
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'tickets', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.assigned_to as "assignedTo", n.category as "category", n.customer_id as "customerId", app.rfc3339(n.deleted_at) as "deletedAt", n.description as "description", app.rfc3339(n.due_at) as "dueAt", n.id as "id", n.number as "number", n.priority as "priority", app.rfc3339(n.resolved_at) as "resolvedAt", n.status as "status", n.subject as "subject", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.number as number, n.subject as subject, n.description as description, n.customer_id as customer_id, n.status as status, n.priority as priority, n.category as category, n.assigned_to as assigned_to, n.due_at as due_at, n.resolved_at as resolved_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.tickets_created() from public;

create function app.tickets_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'tickets', n.id, n.version, case
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
        else 'update' end, 'tickets', n.id,
        '{' || concat_ws(',',
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(o.assigned_to)::text, 'null') end,
      case when n.category is distinct from o.category then '"category":' || coalesce(to_json(o.category)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(o.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.description is distinct from o.description then '"description":' || coalesce(to_json(o.description)::text, 'null') end,
      case when n.due_at is distinct from o.due_at then '"dueAt":' || coalesce(to_json(app.rfc3339(o.due_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.number is distinct from o.number then '"number":' || coalesce(to_json(o.number)::text, 'null') end,
      case when n.priority is distinct from o.priority then '"priority":' || coalesce(to_json(o.priority)::text, 'null') end,
      case when n.resolved_at is distinct from o.resolved_at then '"resolvedAt":' || coalesce(to_json(app.rfc3339(o.resolved_at))::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end,
      case when n.subject is distinct from o.subject then '"subject":' || coalesce(to_json(o.subject)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(n.assigned_to)::text, 'null') end,
      case when n.category is distinct from o.category then '"category":' || coalesce(to_json(n.category)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(n.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.description is distinct from o.description then '"description":' || coalesce(to_json(n.description)::text, 'null') end,
      case when n.due_at is distinct from o.due_at then '"dueAt":' || coalesce(to_json(app.rfc3339(n.due_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.number is distinct from o.number then '"number":' || coalesce(to_json(n.number)::text, 'null') end,
      case when n.priority is distinct from o.priority then '"priority":' || coalesce(to_json(n.priority)::text, 'null') end,
      case when n.resolved_at is distinct from o.resolved_at then '"resolvedAt":' || coalesce(to_json(app.rfc3339(n.resolved_at))::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end,
      case when n.subject is distinct from o.subject then '"subject":' || coalesce(to_json(n.subject)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.number as number, n.subject as subject, n.description as description, n.customer_id as customer_id, n.status as status, n.priority as priority, n.category as category, n.assigned_to as assigned_to, n.due_at as due_at, n.resolved_at as resolved_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.tickets_updated() from public;
create function app.tickets_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'tickets', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'tickets' and s.id = o.id;
  return null;
end $$;
revoke all on function app.tickets_removed() from public;

create trigger a_begin before insert or update on public.tickets
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.tickets
  for each row execute function app.tickets_stamp();
create trigger c_created after insert on public.tickets referencing new table as new_rows
  for each statement execute function app.tickets_created();
create trigger c_updated after update on public.tickets referencing old table as old_rows new table as new_rows
  for each statement execute function app.tickets_updated();
create trigger c_removed after delete on public.tickets referencing old table as old_rows
  for each statement execute function app.tickets_removed();

create function public.tickets_search(needle text) returns setof public.tickets
language sql stable security definer set search_path = '' as $$
  select t.* from public.tickets t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.tickets_search(text) from public, anon, authenticated, service_role;
grant execute on function public.tickets_search(text) to authenticated, service_role;

create function app.tickets_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.tickets;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.tickets, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'tickets', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.tickets (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, number, subject, description, customer_id, status, priority, category, assigned_to, due_at, resolved_at)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.number, r.subject, r.description, r.customer_id, r.status, r.priority, r.category, r.assigned_to, r.due_at, r.resolved_at)
          on conflict on constraint tickets_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, number = excluded.number, subject = excluded.subject, description = excluded.description, customer_id = excluded.customer_id, status = excluded.status, priority = excluded.priority, category = excluded.category, assigned_to = excluded.assigned_to, due_at = excluded.due_at, resolved_at = excluded.resolved_at;
        get diagnostics taken = row_count;
    perform app.raise_counter('tickets', r.tenant_id, r.number);
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.tickets_put(jsonb, bigint) from public;

