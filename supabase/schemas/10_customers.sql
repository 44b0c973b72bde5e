-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

create table public.customers (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint customers_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  company_name text collate "C" not null constraint customers_company_name_check check (char_length(company_name) between 1 and 200),
  contact_name text collate "C" constraint customers_contact_name_check check (char_length(contact_name) <= 200),
  email text collate "C" constraint customers_email_check check (char_length(email) <= 254 and email ~ '^[^@\s]+@[^@\s]+\n?$'),
  phone text collate "C" constraint customers_phone_check check (char_length(phone) <= 200),
  address text collate "C" constraint customers_address_check check (char_length(address) <= 200),
  city text collate "C" constraint customers_city_check check (char_length(city) <= 200),
  country text collate "C" constraint customers_country_check check (char_length(country) <= 200),
  industry text collate "C" constraint customers_industry_check check (char_length(industry) <= 200),
  size text collate "C" constraint customers_size_check check (size in ('micro', 'small', 'medium', 'large', 'enterprise')),
  status text collate "C" not null default 'lead' constraint customers_status_check check (status in ('lead', 'prospect', 'active', 'inactive')),
  notes text collate "C" constraint customers_notes_check check (char_length(notes) <= 20000),
  assigned_to text collate "C",
  location extensions.geography(Point, 4326) constraint customers_location_check check (not extensions.st_isempty(location::extensions.geometry)),
  tags text[] not null default '{}' constraint customers_tags_check check (cardinality(tags) <= 100 and app.texts_fit(tags, 1, 200)),
  search_text text collate "C" generated always as (lower((company_name || E'\x1f' || coalesce(contact_name, '') || E'\x1f' || coalesce(email, '') || E'\x1f' || coalesce(city, '') || E'\x1f' || coalesce(notes, '')) collate pg_catalog."und-x-icu")) stored,
  constraint customers_pkey primary key (tenant_id, id)
);

create index customers_recent_idx on public.customers (tenant_id, created_at desc, id);
create index customers_assigned_to_idx on public.customers (tenant_id, assigned_to);
create unique index customers_email_key on public.customers (tenant_id, (lower(email collate pg_catalog."und-x-icu"))) where deleted_at is null;
create index customers_search_idx on public.customers using gin (tenant_id, search_text extensions.gin_trgm_ops);
create index customers_location_idx on public.customers using gist (location);

insert into app.permissions (resource, action, roles) values
  ('customers', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('customers', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('customers', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('customers', 'delete', array['admin', 'manager', 'system']::text[]),
  ('customers', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.customers from public, anon, authenticated, service_role;
grant select on public.customers to authenticated, service_role;
grant insert (id, company_name, contact_name, email, phone, address, city, country, industry, size, status, notes, assigned_to, location, tags) on public.customers to authenticated;
grant update (company_name, contact_name, email, phone, address, city, country, industry, size, status, notes, assigned_to, location, tags, deleted_at) on public.customers to authenticated;
grant insert, update, delete on public.customers to service_role;

alter table public.customers enable row level security;
alter table public.customers force row level security;
create policy customers_select on public.customers for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy customers_insert on public.customers for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy customers_update on public.customers for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.customers_taken(r public.customers, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.customers t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;
  if holder is null then
    field := 'email';
    select t.id into holder from public.customers t
      where t.tenant_id = r.tenant_id and t.deleted_at is null and t.id <> r.id
        and lower(t.email collate pg_catalog."und-x-icu") = lower(r.email collate pg_catalog."und-x-icu");
  end if;
  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.customers_taken(public.customers, text) from public;
grant execute on function app.customers_taken(public.customers, text) to authenticated, service_role;

create function app.customers_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.customers_taken(new, tg_op) then
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
      raise sqlstate '42501' using message = 'customers: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'customers: the role may not restore';
    end if;
  else
    new.search_text := old.search_text;
    if new is not distinct from old then
      return old;
    end if;
  end if;
  if new.deleted_at is null then
    if current_setting('app.duplicates', true) = 'skip' and app.customers_taken(new, tg_op) then
      return null;
    end if;
  end if;
  new.updated_at := now();
  new.updated_by := nullif(current_setting('app.user', true), '');
  new.version := old.version + 1;
  return new;
end $$;
revoke all on function app.customers_stamp() from public;

create function app.customers_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'customers', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'customers', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.address as "address", n.assigned_to as "assignedTo", n.city as "city", n.company_name as "companyName", n.contact_name as "contactName", n.country as "country", app.rfc3339(n.deleted_at) as "deletedAt", n.email as "email", n.id as "id", n.industry as "industry", app.lat_lon(n.location) as "location", n.notes as "notes", n.phone as "phone", n.size as "size", n.status as "status", n.tags as "tags", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.company_name as company_name, n.contact_name as contact_name, n.email as email, n.phone as phone, n.address as address, n.city as city, n.country as country, n.industry as industry, n.size as size, n.status as status, n.notes as notes, n.assigned_to as assigned_to, app.lat_lon(n.location) as location, n.tags as tags) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.customers_created() from public;

create function app.customers_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'customers', n.id, n.version, case
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
        else 'update' end, 'customers', n.id,
        '{' || concat_ws(',',
      case when n.address is distinct from o.address then '"address":' || coalesce(to_json(o.address)::text, 'null') end,
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(o.assigned_to)::text, 'null') end,
      case when n.city is distinct from o.city then '"city":' || coalesce(to_json(o.city)::text, 'null') end,
      case when n.company_name is distinct from o.company_name then '"companyName":' || coalesce(to_json(o.company_name)::text, 'null') end,
      case when n.contact_name is distinct from o.contact_name then '"contactName":' || coalesce(to_json(o.contact_name)::text, 'null') end,
      case when n.country is distinct from o.country then '"country":' || coalesce(to_json(o.country)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.email is distinct from o.email then '"email":' || coalesce(to_json(o.email)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.industry is distinct from o.industry then '"industry":' || coalesce(to_json(o.industry)::text, 'null') end,
      case when n.location::text is distinct from o.location::text then '"location":' || coalesce(to_json(app.lat_lon(o.location))::text, 'null') end,
      case when n.notes is distinct from o.notes then '"notes":' || coalesce(to_json(o.notes)::text, 'null') end,
      case when n.phone is distinct from o.phone then '"phone":' || coalesce(to_json(o.phone)::text, 'null') end,
      case when n.size is distinct from o.size then '"size":' || coalesce(to_json(o.size)::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end,
      case when n.tags is distinct from o.tags then '"tags":' || coalesce(to_json(o.tags)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.address is distinct from o.address then '"address":' || coalesce(to_json(n.address)::text, 'null') end,
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(n.assigned_to)::text, 'null') end,
      case when n.city is distinct from o.city then '"city":' || coalesce(to_json(n.city)::text, 'null') end,
      case when n.company_name is distinct from o.company_name then '"companyName":' || coalesce(to_json(n.company_name)::text, 'null') end,
      case when n.contact_name is distinct from o.contact_name then '"contactName":' || coalesce(to_json(n.contact_name)::text, 'null') end,
      case when n.country is distinct from o.country then '"country":' || coalesce(to_json(n.country)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.email is distinct from o.email then '"email":' || coalesce(to_json(n.email)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.industry is distinct from o.industry then '"industry":' || coalesce(to_json(n.industry)::text, 'null') end,
      case when n.location::text is distinct from o.location::text then '"location":' || coalesce(to_json(app.lat_lon(n.location))::text, 'null') end,
      case when n.notes is distinct from o.notes then '"notes":' || coalesce(to_json(n.notes)::text, 'null') end,
      case when n.phone is distinct from o.phone then '"phone":' || coalesce(to_json(n.phone)::text, 'null') end,
      case when n.size is distinct from o.size then '"size":' || coalesce(to_json(n.size)::text, 'null') end,
      case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end,
      case when n.tags is distinct from o.tags then '"tags":' || coalesce(to_json(n.tags)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.company_name as company_name, n.contact_name as contact_name, n.email as email, n.phone as phone, n.address as address, n.city as city, n.country as country, n.industry as industry, n.size as size, n.status as status, n.notes as notes, n.assigned_to as assigned_to, app.lat_lon(n.location) as location, n.tags as tags) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.customers_updated() from public;
create function app.customers_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'customers', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'customers' and s.id = o.id;
  return null;
end $$;
revoke all on function app.customers_removed() from public;

create trigger a_begin before insert or update on public.customers
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.customers
  for each row execute function app.customers_stamp();
create trigger c_created after insert on public.customers referencing new table as new_rows
  for each statement execute function app.customers_created();
create trigger c_updated after update on public.customers referencing old table as old_rows new table as new_rows
  for each statement execute function app.customers_updated();
create trigger c_removed after delete on public.customers referencing old table as old_rows
  for each statement execute function app.customers_removed();

create function public.location_point(public.customers) returns jsonb language sql stable parallel safe
return app.lat_lon(($1).location);
revoke all on function public.location_point(public.customers) from public, anon, authenticated, service_role;
grant execute on function public.location_point(public.customers) to authenticated, service_role;

create function public.customers_search(needle text) returns setof public.customers
language sql stable security definer set search_path = '' as $$
  select t.* from public.customers t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.customers_search(text) from public, anon, authenticated, service_role;
grant execute on function public.customers_search(text) to authenticated, service_role;

create function public.customers_near(lat double precision, lon double precision, km double precision)
returns setof public.customers language sql stable security definer set search_path = '' as $$
  select t.* from public.customers t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and extensions.st_dwithin(t.location, extensions.st_setsrid(extensions.st_makepoint(lon, lat), 4326)::extensions.geography, km * 1000, false)
  order by extensions.st_distance(t.location, extensions.st_setsrid(extensions.st_makepoint(lon, lat), 4326)::extensions.geography, false), t.id
$$;
revoke all on function public.customers_near(double precision, double precision, double precision) from public, anon, authenticated, service_role;
grant execute on function public.customers_near(double precision, double precision, double precision) to authenticated, service_role;

create function app.customers_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.customers;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.customers, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'customers', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.customers (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, company_name, contact_name, email, phone, address, city, country, industry, size, status, notes, assigned_to, location, tags)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.company_name, r.contact_name, r.email, r.phone, r.address, r.city, r.country, r.industry, r.size, r.status, r.notes, r.assigned_to, r.location, r.tags)
          on conflict on constraint customers_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, company_name = excluded.company_name, contact_name = excluded.contact_name, email = excluded.email, phone = excluded.phone, address = excluded.address, city = excluded.city, country = excluded.country, industry = excluded.industry, size = excluded.size, status = excluded.status, notes = excluded.notes, assigned_to = excluded.assigned_to, location = excluded.location, tags = excluded.tags;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    exception when unique_violation then
      get stacked diagnostics broken = constraint_name;
      case broken
        when 'customers_email_key' then
          field := 'email';
          select t.id into existing from public.customers t where t.tenant_id = r.tenant_id
            and t.deleted_at is null and lower(t.email collate pg_catalog."und-x-icu") = lower(r.email collate pg_catalog."und-x-icu");
        else raise;
      end case;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', false, 'field', field, 'existing_id', existing);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.customers_put(jsonb, bigint) from public;

