-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.contracts (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint contracts_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  number bigint not null default 0,
  customer_id text collate "C" not null,
  title text collate "C" not null constraint contracts_title_check check (char_length(title) between 1 and 200),
  status text collate "C" not null default 'draft' constraint contracts_status_check check (status in ('draft', 'active', 'expired', 'terminated')),
  value numeric not null default 0 constraint contracts_value_check check (value >= 0 and abs(value) < 1000000000000 and value = round(value, 4)),
  currency text collate "C" not null default 'EUR' constraint contracts_currency_check check (currency ~ '^[A-Z]{3}\n?$'),
  start_date date constraint contracts_start_date_check check (start_date between '0001-01-01' and '9999-12-31'),
  end_date date constraint contracts_end_date_check check (end_date between '0001-01-01' and '9999-12-31'),
  renewal text collate "C" not null default 'manual' constraint contracts_renewal_check check (renewal in ('none', 'manual', 'automatic')),
  signed_at timestamptz constraint contracts_signed_at_check check (signed_at between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'),
  search_text text collate "C" generated always as (lower((title) collate pg_catalog."und-x-icu")) stored,
  constraint contracts_pkey primary key (tenant_id, id)
);

create index contracts_recent_idx on public.contracts (tenant_id, created_at desc, id);
create index contracts_customer_id_idx on public.contracts (tenant_id, customer_id);
create index contracts_search_idx on public.contracts using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('contracts', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('contracts', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('contracts', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('contracts', 'delete', array['admin', 'manager', 'system']::text[]),
  ('contracts', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.contracts from public, anon, authenticated, service_role;
grant select on public.contracts to authenticated, service_role;
grant insert (id, customer_id, title, status, value, currency, start_date, end_date, renewal, signed_at) on public.contracts to authenticated;
grant update (customer_id, title, status, value, currency, start_date, end_date, renewal, signed_at, deleted_at) on public.contracts to authenticated;
grant insert, update, delete on public.contracts to service_role;

alter table public.contracts enable row level security;
alter table public.contracts force row level security;
create policy contracts_select on public.contracts for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy contracts_insert on public.contracts for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy contracts_update on public.contracts for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.contracts_taken(r public.contracts, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.contracts t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.contracts_taken(public.contracts, text) from public;
grant execute on function app.contracts_taken(public.contracts, text) to authenticated, service_role;

create function app.contracts_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    new.value := trim_scale(new.value);
    if current_setting('app.duplicates', true) = 'skip' and app.contracts_taken(new, tg_op) then
      return null;
    end if;
    new.number := app.next_number('contracts', new.tenant_id);
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
  new.value := trim_scale(new.value);
  if new.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'contracts: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'contracts: the role may not restore';
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
revoke all on function app.contracts_stamp() from public;

create function app.contracts_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'contracts', n.id, n.version, 'created' from new_rows n;
  perform app.keep_number('contracts');
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'contracts', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.currency as "currency", n.customer_id as "customerId", app.rfc3339(n.deleted_at) as "deletedAt", n.end_date as "endDate", n.id as "id", n.number as "number", n.renewal as "renewal", app.rfc3339(n.signed_at) as "signedAt", n.start_date as "startDate", n.status as "status", n.title as "title", n.value::text as "value", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.number as number, n.customer_id as customer_id, n.title as title, n.status as status, n.value as value, n.currency as currency, n.start_date as start_date, n.end_date as end_date, n.renewal as renewal, n.signed_at as signed_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.contracts_created() from public;

create function app.contracts_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'contracts', n.id, n.version, case
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
        else 'update' end, 'contracts', n.id,
        '{' || concat_ws(',',
      case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(o.currency)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(o.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.end_date is distinct from o.end_date then '"endDate":' || coalesce(to_json(o.end_date)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.number is distinct from o.number then '"number":' || coalesce(to_json(o.number)::text, 'null') end,
      case when n.renewal is distinct from o.renewal then '"renewal":' || coalesce(to_json(o.renewal)::text, 'null') end,
      case when n.signed_at is distinct from o.signed_at then '"signedAt":' || coalesce(to_json(app.rfc3339(o.signed_at))::text, 'null') end,
      case when n.start_date is distinct from o.start_date then '"startDate":' || coalesce(to_json(o.start_date)::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(o.title)::text, 'null') end,
      case when n.value is distinct from o.value then '"value":' || coalesce(to_json(o.value::text)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(n.currency)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(n.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.end_date is distinct from o.end_date then '"endDate":' || coalesce(to_json(n.end_date)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.number is distinct from o.number then '"number":' || coalesce(to_json(n.number)::text, 'null') end,
      case when n.renewal is distinct from o.renewal then '"renewal":' || coalesce(to_json(n.renewal)::text, 'null') end,
      case when n.signed_at is distinct from o.signed_at then '"signedAt":' || coalesce(to_json(app.rfc3339(n.signed_at))::text, 'null') end,
      case when n.start_date is distinct from o.start_date then '"startDate":' || coalesce(to_json(n.start_date)::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(n.title)::text, 'null') end,
      case when n.value is distinct from o.value then '"value":' || coalesce(to_json(n.value::text)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.number as number, n.customer_id as customer_id, n.title as title, n.status as status, n.value as value, n.currency as currency, n.start_date as start_date, n.end_date as end_date, n.renewal as renewal, n.signed_at as signed_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.contracts_updated() from public;
create function app.contracts_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'contracts', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'contracts' and s.id = o.id;
  return null;
end $$;
revoke all on function app.contracts_removed() from public;

create trigger a_begin before insert or update on public.contracts
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.contracts
  for each row execute function app.contracts_stamp();
create trigger c_created after insert on public.contracts referencing new table as new_rows
  for each statement execute function app.contracts_created();
create trigger c_updated after update on public.contracts referencing old table as old_rows new table as new_rows
  for each statement execute function app.contracts_updated();
create trigger c_removed after delete on public.contracts referencing old table as old_rows
  for each statement execute function app.contracts_removed();

create function public.contracts_search(needle text) returns setof public.contracts
language sql stable security definer set search_path = '' as $$
  select t.* from public.contracts t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.contracts_search(text) from public, anon, authenticated, service_role;
grant execute on function public.contracts_search(text) to authenticated, service_role;

create function app.contracts_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.contracts;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.contracts, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'contracts', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.contracts (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, number, customer_id, title, status, value, currency, start_date, end_date, renewal, signed_at)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.number, r.customer_id, r.title, r.status, r.value, r.currency, r.start_date, r.end_date, r.renewal, r.signed_at)
          on conflict on constraint contracts_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, number = excluded.number, customer_id = excluded.customer_id, title = excluded.title, status = excluded.status, value = excluded.value, currency = excluded.currency, start_date = excluded.start_date, end_date = excluded.end_date, renewal = excluded.renewal, signed_at = excluded.signed_at;
        get diagnostics taken = row_count;
    perform app.raise_counter('contracts', r.tenant_id, r.number);
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.contracts_put(jsonb, bigint) from public;

