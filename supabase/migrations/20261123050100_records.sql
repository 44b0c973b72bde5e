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


create table public.tags (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint tags_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  name text collate "C" not null constraint tags_name_check check (char_length(name) between 1 and 200),
  color text collate "C" not null default '#808080' constraint tags_color_check check (color ~ '^#[0-9a-f]{6}\n?$'),
  search_text text collate "C" generated always as (lower((name) collate pg_catalog."und-x-icu")) stored,
  constraint tags_pkey primary key (tenant_id, id)
);

create index tags_recent_idx on public.tags (tenant_id, created_at desc, id);
create unique index tags_name_key on public.tags (tenant_id, (lower(name collate pg_catalog."und-x-icu"))) where deleted_at is null;
create index tags_search_idx on public.tags using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('tags', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('tags', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('tags', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('tags', 'delete', array['admin', 'manager', 'system']::text[]),
  ('tags', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.tags from public, anon, authenticated, service_role;
grant select on public.tags to authenticated, service_role;
grant insert (id, name, color) on public.tags to authenticated;
grant update (name, color, deleted_at) on public.tags to authenticated;
grant insert, update, delete on public.tags to service_role;

alter table public.tags enable row level security;
alter table public.tags force row level security;
create policy tags_select on public.tags for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy tags_insert on public.tags for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy tags_update on public.tags for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.tags_taken(r public.tags, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.tags t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;
  if holder is null then
    field := 'name';
    select t.id into holder from public.tags t
      where t.tenant_id = r.tenant_id and t.deleted_at is null and t.id <> r.id
        and lower(t.name collate pg_catalog."und-x-icu") = lower(r.name collate pg_catalog."und-x-icu");
  end if;
  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.tags_taken(public.tags, text) from public;
grant execute on function app.tags_taken(public.tags, text) to authenticated, service_role;

create function app.tags_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.tags_taken(new, tg_op) then
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
      raise sqlstate '42501' using message = 'tags: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'tags: the role may not restore';
    end if;
  else
    new.search_text := old.search_text;
    if new is not distinct from old then
      return old;
    end if;
  end if;
  if new.deleted_at is null then
    if current_setting('app.duplicates', true) = 'skip' and app.tags_taken(new, tg_op) then
      return null;
    end if;
  end if;
  new.updated_at := now();
  new.updated_by := nullif(current_setting('app.user', true), '');
  new.version := old.version + 1;
  return new;
end $$;
revoke all on function app.tags_stamp() from public;

create function app.tags_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'tags', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'tags', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.color as "color", app.rfc3339(n.deleted_at) as "deletedAt", n.id as "id", n.name as "name", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.name as name, n.color as color) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.tags_created() from public;

create function app.tags_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'tags', n.id, n.version, case
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
        else 'update' end, 'tags', n.id,
        '{' || concat_ws(',',
      case when n.color is distinct from o.color then '"color":' || coalesce(to_json(o.color)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.name is distinct from o.name then '"name":' || coalesce(to_json(o.name)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.color is distinct from o.color then '"color":' || coalesce(to_json(n.color)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.name is distinct from o.name then '"name":' || coalesce(to_json(n.name)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.name as name, n.color as color) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.tags_updated() from public;
create function app.tags_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'tags', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'tags' and s.id = o.id;
  return null;
end $$;
revoke all on function app.tags_removed() from public;

create trigger a_begin before insert or update on public.tags
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.tags
  for each row execute function app.tags_stamp();
create trigger c_created after insert on public.tags referencing new table as new_rows
  for each statement execute function app.tags_created();
create trigger c_updated after update on public.tags referencing old table as old_rows new table as new_rows
  for each statement execute function app.tags_updated();
create trigger c_removed after delete on public.tags referencing old table as old_rows
  for each statement execute function app.tags_removed();

create function public.tags_search(needle text) returns setof public.tags
language sql stable security definer set search_path = '' as $$
  select t.* from public.tags t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.tags_search(text) from public, anon, authenticated, service_role;
grant execute on function public.tags_search(text) to authenticated, service_role;

create function app.tags_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.tags;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.tags, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'tags', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.tags (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, name, color)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.name, r.color)
          on conflict on constraint tags_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, name = excluded.name, color = excluded.color;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    exception when unique_violation then
      get stacked diagnostics broken = constraint_name;
      case broken
        when 'tags_name_key' then
          field := 'name';
          select t.id into existing from public.tags t where t.tenant_id = r.tenant_id
            and t.deleted_at is null and lower(t.name collate pg_catalog."und-x-icu") = lower(r.name collate pg_catalog."und-x-icu");
        else raise;
      end case;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', false, 'field', field, 'existing_id', existing);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.tags_put(jsonb, bigint) from public;


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


create table public.deals (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint deals_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  title text collate "C" not null constraint deals_title_check check (char_length(title) between 1 and 200),
  customer_id text collate "C" not null,
  stage_id text collate "C" not null,
  amount numeric not null default 0 constraint deals_amount_check check (amount >= 0 and abs(amount) < 1000000000000 and amount = round(amount, 4)),
  currency text collate "C" not null default 'EUR' constraint deals_currency_check check (currency ~ '^[A-Z]{3}\n?$'),
  probability bigint not null default 0 constraint deals_probability_check check (probability >= 0 and probability <= 100),
  expected_close date constraint deals_expected_close_check check (expected_close between '0001-01-01' and '9999-12-31'),
  assigned_to text collate "C",
  lost_reason text collate "C" constraint deals_lost_reason_check check (char_length(lost_reason) <= 200),
  search_text text collate "C" generated always as (lower((title) collate pg_catalog."und-x-icu")) stored,
  constraint deals_pkey primary key (tenant_id, id)
);

create index deals_recent_idx on public.deals (tenant_id, created_at desc, id);
create index deals_customer_id_idx on public.deals (tenant_id, customer_id);
create index deals_stage_id_idx on public.deals (tenant_id, stage_id);
create index deals_assigned_to_idx on public.deals (tenant_id, assigned_to);
create index deals_search_idx on public.deals using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('deals', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('deals', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('deals', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('deals', 'delete', array['admin', 'manager', 'system']::text[]),
  ('deals', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.deals from public, anon, authenticated, service_role;
grant select on public.deals to authenticated, service_role;
grant insert (id, title, customer_id, stage_id, amount, currency, probability, expected_close, assigned_to, lost_reason) on public.deals to authenticated;
grant update (title, customer_id, stage_id, amount, currency, probability, expected_close, assigned_to, lost_reason, deleted_at) on public.deals to authenticated;
grant insert, update, delete on public.deals to service_role;

alter table public.deals enable row level security;
alter table public.deals force row level security;
create policy deals_select on public.deals for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy deals_insert on public.deals for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy deals_update on public.deals for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.deals_taken(r public.deals, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.deals t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.deals_taken(public.deals, text) from public;
grant execute on function app.deals_taken(public.deals, text) to authenticated, service_role;

create function app.deals_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    new.amount := trim_scale(new.amount);
    if current_setting('app.duplicates', true) = 'skip' and app.deals_taken(new, tg_op) then
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
  new.amount := trim_scale(new.amount);
  if new.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'deals: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'deals: the role may not restore';
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
revoke all on function app.deals_stamp() from public;

create function app.deals_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'deals', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'deals', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.amount::text as "amount", n.assigned_to as "assignedTo", n.currency as "currency", n.customer_id as "customerId", app.rfc3339(n.deleted_at) as "deletedAt", n.expected_close as "expectedClose", n.id as "id", n.lost_reason as "lostReason", n.probability as "probability", n.stage_id as "stageId", n.title as "title", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.title as title, n.customer_id as customer_id, n.stage_id as stage_id, n.amount as amount, n.currency as currency, n.probability as probability, n.expected_close as expected_close, n.assigned_to as assigned_to, n.lost_reason as lost_reason) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.deals_created() from public;

create function app.deals_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'deals', n.id, n.version, case
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
        else 'update' end, 'deals', n.id,
        '{' || concat_ws(',',
      case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end,
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(o.assigned_to)::text, 'null') end,
      case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(o.currency)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(o.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.expected_close is distinct from o.expected_close then '"expectedClose":' || coalesce(to_json(o.expected_close)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.lost_reason is distinct from o.lost_reason then '"lostReason":' || coalesce(to_json(o.lost_reason)::text, 'null') end,
      case when n.probability is distinct from o.probability then '"probability":' || coalesce(to_json(o.probability)::text, 'null') end,
      case when n.stage_id is distinct from o.stage_id then '"stageId":' || coalesce(to_json(o.stage_id)::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(o.title)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end,
      case when n.assigned_to is distinct from o.assigned_to then '"assignedTo":' || coalesce(to_json(n.assigned_to)::text, 'null') end,
      case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(n.currency)::text, 'null') end,
      case when n.customer_id is distinct from o.customer_id then '"customerId":' || coalesce(to_json(n.customer_id)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.expected_close is distinct from o.expected_close then '"expectedClose":' || coalesce(to_json(n.expected_close)::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.lost_reason is distinct from o.lost_reason then '"lostReason":' || coalesce(to_json(n.lost_reason)::text, 'null') end,
      case when n.probability is distinct from o.probability then '"probability":' || coalesce(to_json(n.probability)::text, 'null') end,
      case when n.stage_id is distinct from o.stage_id then '"stageId":' || coalesce(to_json(n.stage_id)::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(n.title)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.title as title, n.customer_id as customer_id, n.stage_id as stage_id, n.amount as amount, n.currency as currency, n.probability as probability, n.expected_close as expected_close, n.assigned_to as assigned_to, n.lost_reason as lost_reason) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.deals_updated() from public;
create function app.deals_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'deals', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'deals' and s.id = o.id;
  return null;
end $$;
revoke all on function app.deals_removed() from public;

create trigger a_begin before insert or update on public.deals
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.deals
  for each row execute function app.deals_stamp();
create trigger c_created after insert on public.deals referencing new table as new_rows
  for each statement execute function app.deals_created();
create trigger c_updated after update on public.deals referencing old table as old_rows new table as new_rows
  for each statement execute function app.deals_updated();
create trigger c_removed after delete on public.deals referencing old table as old_rows
  for each statement execute function app.deals_removed();

create function public.deals_search(needle text) returns setof public.deals
language sql stable security definer set search_path = '' as $$
  select t.* from public.deals t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.deals_search(text) from public, anon, authenticated, service_role;
grant execute on function public.deals_search(text) to authenticated, service_role;

create function app.deals_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.deals;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.deals, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'deals', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.deals (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, title, customer_id, stage_id, amount, currency, probability, expected_close, assigned_to, lost_reason)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.title, r.customer_id, r.stage_id, r.amount, r.currency, r.probability, r.expected_close, r.assigned_to, r.lost_reason)
          on conflict on constraint deals_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, title = excluded.title, customer_id = excluded.customer_id, stage_id = excluded.stage_id, amount = excluded.amount, currency = excluded.currency, probability = excluded.probability, expected_close = excluded.expected_close, assigned_to = excluded.assigned_to, lost_reason = excluded.lost_reason;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.deals_put(jsonb, bigint) from public;


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


create table public.comments (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint comments_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  ticket_id text collate "C" not null,
  body text collate "C" not null constraint comments_body_check check (char_length(body) <= 20000),
  internal boolean not null default false,
  search_text text collate "C" generated always as (lower((body) collate pg_catalog."und-x-icu")) stored,
  constraint comments_pkey primary key (tenant_id, id)
);

create index comments_recent_idx on public.comments (tenant_id, created_at desc, id);
create index comments_ticket_id_idx on public.comments (tenant_id, ticket_id);
create index comments_search_idx on public.comments using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('comments', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('comments', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('comments', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('comments', 'delete', array['admin', 'manager', 'system']::text[]),
  ('comments', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.comments from public, anon, authenticated, service_role;
grant select on public.comments to authenticated, service_role;
grant insert (id, ticket_id, body, internal) on public.comments to authenticated;
grant update (ticket_id, body, internal, deleted_at) on public.comments to authenticated;
grant insert, update, delete on public.comments to service_role;

alter table public.comments enable row level security;
alter table public.comments force row level security;
create policy comments_select on public.comments for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy comments_insert on public.comments for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy comments_update on public.comments for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.comments_taken(r public.comments, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.comments t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.comments_taken(public.comments, text) from public;
grant execute on function app.comments_taken(public.comments, text) to authenticated, service_role;

create function app.comments_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.comments_taken(new, tg_op) then
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
      raise sqlstate '42501' using message = 'comments: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'comments: the role may not restore';
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
revoke all on function app.comments_stamp() from public;

create function app.comments_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'comments', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'comments', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.body as "body", app.rfc3339(n.deleted_at) as "deletedAt", n.id as "id", n.internal as "internal", n.ticket_id as "ticketId", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.ticket_id as ticket_id, n.body as body, n.internal as internal) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.comments_created() from public;

create function app.comments_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'comments', n.id, n.version, case
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
        else 'update' end, 'comments', n.id,
        '{' || concat_ws(',',
      case when n.body is distinct from o.body then '"body":' || coalesce(to_json(o.body)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.internal is distinct from o.internal then '"internal":' || coalesce(to_json(o.internal)::text, 'null') end,
      case when n.ticket_id is distinct from o.ticket_id then '"ticketId":' || coalesce(to_json(o.ticket_id)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.body is distinct from o.body then '"body":' || coalesce(to_json(n.body)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.internal is distinct from o.internal then '"internal":' || coalesce(to_json(n.internal)::text, 'null') end,
      case when n.ticket_id is distinct from o.ticket_id then '"ticketId":' || coalesce(to_json(n.ticket_id)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.ticket_id as ticket_id, n.body as body, n.internal as internal) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.comments_updated() from public;
create function app.comments_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'comments', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'comments' and s.id = o.id;
  return null;
end $$;
revoke all on function app.comments_removed() from public;

create trigger a_begin before insert or update on public.comments
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.comments
  for each row execute function app.comments_stamp();
create trigger c_created after insert on public.comments referencing new table as new_rows
  for each statement execute function app.comments_created();
create trigger c_updated after update on public.comments referencing old table as old_rows new table as new_rows
  for each statement execute function app.comments_updated();
create trigger c_removed after delete on public.comments referencing old table as old_rows
  for each statement execute function app.comments_removed();

create function public.comments_search(needle text) returns setof public.comments
language sql stable security definer set search_path = '' as $$
  select t.* from public.comments t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.comments_search(text) from public, anon, authenticated, service_role;
grant execute on function public.comments_search(text) to authenticated, service_role;

create function app.comments_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.comments;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.comments, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'comments', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.comments (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, ticket_id, body, internal)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.ticket_id, r.body, r.internal)
          on conflict on constraint comments_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, ticket_id = excluded.ticket_id, body = excluded.body, internal = excluded.internal;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.comments_put(jsonb, bigint) from public;


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


create table public.notifications (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint notifications_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  user_id text collate "C" not null,
  kind text collate "C" not null constraint notifications_kind_check check (char_length(kind) between 1 and 200),
  title text collate "C" not null constraint notifications_title_check check (char_length(title) between 1 and 200),
  body text collate "C" constraint notifications_body_check check (char_length(body) <= 20000),
  link text collate "C" constraint notifications_link_check check (char_length(link) <= 200),
  read_at timestamptz constraint notifications_read_at_check check (read_at between '0001-01-01T00:00:00Z' and '9999-12-31T23:59:59.999999Z'),
  search_text text collate "C" generated always as (lower((title || E'\x1f' || coalesce(body, '')) collate pg_catalog."und-x-icu")) stored,
  constraint notifications_pkey primary key (tenant_id, id)
);

create index notifications_recent_idx on public.notifications (tenant_id, created_at desc, id);
create index notifications_user_id_idx on public.notifications (tenant_id, user_id);
create index notifications_search_idx on public.notifications using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('notifications', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('notifications', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('notifications', 'update', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('notifications', 'delete', array['admin', 'manager', 'system']::text[]),
  ('notifications', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.notifications from public, anon, authenticated, service_role;
grant select on public.notifications to authenticated, service_role;
grant insert (id, user_id, kind, title, body, link, read_at) on public.notifications to authenticated;
grant update (user_id, kind, title, body, link, read_at, deleted_at) on public.notifications to authenticated;
grant insert, update, delete on public.notifications to service_role;

alter table public.notifications enable row level security;
alter table public.notifications force row level security;
create policy notifications_select on public.notifications for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy notifications_insert on public.notifications for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy notifications_update on public.notifications for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));

create function app.notifications_taken(r public.notifications, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.notifications t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.notifications_taken(public.notifications, text) from public;
grant execute on function app.notifications_taken(public.notifications, text) to authenticated, service_role;

create function app.notifications_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.notifications_taken(new, tg_op) then
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
      raise sqlstate '42501' using message = 'notifications: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'notifications: the role may not restore';
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
revoke all on function app.notifications_stamp() from public;

create function app.notifications_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'notifications', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'notifications', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.body as "body", app.rfc3339(n.deleted_at) as "deletedAt", n.id as "id", n.kind as "kind", n.link as "link", app.rfc3339(n.read_at) as "readAt", n.title as "title", n.user_id as "userId", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.user_id as user_id, n.kind as kind, n.title as title, n.body as body, n.link as link, n.read_at as read_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.notifications_created() from public;

create function app.notifications_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'notifications', n.id, n.version, case
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
        else 'update' end, 'notifications', n.id,
        '{' || concat_ws(',',
      case when n.body is distinct from o.body then '"body":' || coalesce(to_json(o.body)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(o.kind)::text, 'null') end,
      case when n.link is distinct from o.link then '"link":' || coalesce(to_json(o.link)::text, 'null') end,
      case when n.read_at is distinct from o.read_at then '"readAt":' || coalesce(to_json(app.rfc3339(o.read_at))::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(o.title)::text, 'null') end,
      case when n.user_id is distinct from o.user_id then '"userId":' || coalesce(to_json(o.user_id)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.body is distinct from o.body then '"body":' || coalesce(to_json(n.body)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(n.kind)::text, 'null') end,
      case when n.link is distinct from o.link then '"link":' || coalesce(to_json(n.link)::text, 'null') end,
      case when n.read_at is distinct from o.read_at then '"readAt":' || coalesce(to_json(app.rfc3339(n.read_at))::text, 'null') end,
      case when n.title is distinct from o.title then '"title":' || coalesce(to_json(n.title)::text, 'null') end,
      case when n.user_id is distinct from o.user_id then '"userId":' || coalesce(to_json(n.user_id)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.user_id as user_id, n.kind as kind, n.title as title, n.body as body, n.link as link, n.read_at as read_at) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.notifications_updated() from public;
create function app.notifications_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'notifications', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'notifications' and s.id = o.id;
  return null;
end $$;
revoke all on function app.notifications_removed() from public;

create trigger a_begin before insert or update on public.notifications
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.notifications
  for each row execute function app.notifications_stamp();
create trigger c_created after insert on public.notifications referencing new table as new_rows
  for each statement execute function app.notifications_created();
create trigger c_updated after update on public.notifications referencing old table as old_rows new table as new_rows
  for each statement execute function app.notifications_updated();
create trigger c_removed after delete on public.notifications referencing old table as old_rows
  for each statement execute function app.notifications_removed();

create function public.notifications_search(needle text) returns setof public.notifications
language sql stable security definer set search_path = '' as $$
  select t.* from public.notifications t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.notifications_search(text) from public, anon, authenticated, service_role;
grant execute on function public.notifications_search(text) to authenticated, service_role;

create function app.notifications_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.notifications;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.notifications, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'notifications', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.notifications (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, user_id, kind, title, body, link, read_at)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.user_id, r.kind, r.title, r.body, r.link, r.read_at)
          on conflict on constraint notifications_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, user_id = excluded.user_id, kind = excluded.kind, title = excluded.title, body = excluded.body, link = excluded.link, read_at = excluded.read_at;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.notifications_put(jsonb, bigint) from public;


create table public.files (
  tenant_id text collate "C" not null,
  id text collate "C" not null default app.new_id() constraint files_id_check check (id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by text collate "C",
  updated_by text collate "C",
  version bigint not null default 1,
  deleted_at timestamptz,
  name text collate "C" not null constraint files_name_check check (char_length(name) between 1 and 255),
  content_type text collate "C" not null default 'application/octet-stream' constraint files_content_type_check check (char_length(content_type) <= 200),
  size bigint not null default 0 constraint files_size_check check (size >= 0),
  sha256 text collate "C" not null default '' constraint files_sha256_check check (sha256 ~ '^([0-9a-f]{64})?\n?$'),
  owner_resource text collate "C" constraint files_owner_resource_check check (char_length(owner_resource) <= 200),
  owner_id text collate "C" constraint files_owner_id_check check (char_length(owner_id) <= 200),
  search_text text collate "C" generated always as (lower((name) collate pg_catalog."und-x-icu")) stored,
  constraint files_pkey primary key (tenant_id, id)
);

create index files_recent_idx on public.files (tenant_id, created_at desc, id);
create index files_search_idx on public.files using gin (tenant_id, search_text extensions.gin_trgm_ops);

insert into app.permissions (resource, action, roles) values
  ('files', 'list', array['admin', 'agent', 'manager', 'system', 'viewer']::text[]),
  ('files', 'create', array['admin', 'agent', 'manager', 'system']::text[]),
  ('files', 'update', array['admin', 'agent', 'manager', 'system']::text[]),
  ('files', 'delete', array['admin', 'manager', 'system']::text[]),
  ('files', 'restore', array['admin', 'manager', 'system']::text[])
on conflict (resource, action) do update set roles = excluded.roles;

revoke all on public.files from public, anon, authenticated, service_role;
grant select on public.files to authenticated, service_role;
grant insert (id, name, content_type, size, sha256, owner_resource, owner_id) on public.files to authenticated;
grant update (name, content_type, size, sha256, owner_resource, owner_id, deleted_at) on public.files to authenticated;
grant insert, update, delete on public.files to service_role;

alter table public.files enable row level security;
alter table public.files force row level security;
create policy files_select on public.files for select to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer'));
create policy files_insert on public.files for insert to authenticated
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));
create policy files_update on public.files for update to authenticated
  using (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'))
  with check (tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system'));

create function app.files_taken(r public.files, doing text) returns boolean
language plpgsql volatile security definer set search_path = '' as $$
declare
  field text := 'id';
  holder text;
begin
  if doing = 'INSERT' then
    select t.id into holder from public.files t where t.tenant_id = r.tenant_id and t.id = r.id;
  end if;

  if holder is null then
    return false;
  end if;
  perform app.keep_rejection(r.id, field, holder);
  return true;
end $$;
revoke all on function app.files_taken(public.files, text) from public;
grant execute on function app.files_taken(public.files, text) to authenticated, service_role;

create function app.files_stamp() returns trigger language plpgsql set search_path = '' as $$
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
    if current_setting('app.duplicates', true) = 'skip' and app.files_taken(new, tg_op) then
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
      raise sqlstate '42501' using message = 'files: the role may not delete';
    end if;
    new.deleted_at := now();
  elsif old.deleted_at is not null then
    if not trusted and app.role() in ('admin', 'manager', 'system') is not true then
      raise sqlstate '42501' using message = 'files: the role may not restore';
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
revoke all on function app.files_stamp() from public;

create function app.files_created() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'files', n.id, n.version, 'created' from new_rows n;
  if current_setting('app.putting', true) is distinct from 'on' then
    with written as (
      insert into public.audit (tenant_id, id, created_at, updated_at, created_by, updated_by, version, actor, action, target,
        record_id, before, after, backend, epoch, operation_id)
      select n.tenant_id, app.new_id(), now(), now(), n.updated_by, n.updated_by, 1, coalesce(n.updated_by, 'system'),
        'create', 'files', n.id,
        '{}',
        (select row_to_json(x)::text from (select n.content_type as "contentType", app.rfc3339(n.deleted_at) as "deletedAt", n.id as "id", n.name as "name", n.owner_id as "ownerId", n.owner_resource as "ownerResource", n.sha256 as "sha256", n.size as "size", n.version as "version") x),
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.name as name, n.content_type as content_type, n.size as size, n.sha256 as sha256, n.owner_resource as owner_resource, n.owner_id as owner_id) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.files_created() from public;

create function app.files_updated() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') in ('authenticated', 'anon') and pg_trigger_depth() = 1 and exists (
    select from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id and n.version <> o.version, app.caller() c
    where n.tenant_id is distinct from c.tenant_id or n.updated_by is distinct from c.user_id
  ) and current_setting('app.putting', true) is distinct from 'on' then
    perform app.refuse_forged();
  end if;
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select n.tenant_id, 'files', n.id, n.version, case
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
        else 'update' end, 'files', n.id,
        '{' || concat_ws(',',
      case when n.content_type is distinct from o.content_type then '"contentType":' || coalesce(to_json(o.content_type)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(o.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(o.id)::text, 'null') end,
      case when n.name is distinct from o.name then '"name":' || coalesce(to_json(o.name)::text, 'null') end,
      case when n.owner_id is distinct from o.owner_id then '"ownerId":' || coalesce(to_json(o.owner_id)::text, 'null') end,
      case when n.owner_resource is distinct from o.owner_resource then '"ownerResource":' || coalesce(to_json(o.owner_resource)::text, 'null') end,
      case when n.sha256 is distinct from o.sha256 then '"sha256":' || coalesce(to_json(o.sha256)::text, 'null') end,
      case when n.size is distinct from o.size then '"size":' || coalesce(to_json(o.size)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version)::text, 'null') end) || '}',
        '{' || concat_ws(',',
      case when n.content_type is distinct from o.content_type then '"contentType":' || coalesce(to_json(n.content_type)::text, 'null') end,
      case when n.deleted_at is distinct from o.deleted_at then '"deletedAt":' || coalesce(to_json(app.rfc3339(n.deleted_at))::text, 'null') end,
      case when n.id is distinct from o.id then '"id":' || coalesce(to_json(n.id)::text, 'null') end,
      case when n.name is distinct from o.name then '"name":' || coalesce(to_json(n.name)::text, 'null') end,
      case when n.owner_id is distinct from o.owner_id then '"ownerId":' || coalesce(to_json(n.owner_id)::text, 'null') end,
      case when n.owner_resource is distinct from o.owner_resource then '"ownerResource":' || coalesce(to_json(n.owner_resource)::text, 'null') end,
      case when n.sha256 is distinct from o.sha256 then '"sha256":' || coalesce(to_json(n.sha256)::text, 'null') end,
      case when n.size is distinct from o.size then '"size":' || coalesce(to_json(n.size)::text, 'null') end,
      case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version)::text, 'null') end) || '}',
        'supabase', current_setting('app.epoch')::bigint, current_setting('app.operation_id')
      from new_rows n join old_rows o on o.tenant_id = n.tenant_id and o.id = n.id where n.version <> o.version
      returning tenant_id, id
    )
    insert into app.pending_audit (tenant_id, id) select tenant_id, id from written;
    if current_setting('app.operation', true) <> '' and pg_trigger_depth() = 1 then
      perform app.keep_images((
        select coalesce(json_agg((select row_to_json(x) from (select n.id as id, n.tenant_id as tenant_id, n.created_at as created_at, n.updated_at as updated_at, n.created_by as created_by, n.updated_by as updated_by, n.version as version, n.deleted_at as deleted_at, n.name as name, n.content_type as content_type, n.size as size, n.sha256 as sha256, n.owner_resource as owner_resource, n.owner_id as owner_id) x)), '[]') from new_rows n
      ));
    end if;
  end if;
  return null;
end $$;
revoke all on function app.files_updated() from public;
create function app.files_removed() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.changes (tenant_id, resource, record_id, version, kind)
    select o.tenant_id, 'files', o.id, o.version, 'deleted' from old_rows o;
  delete from app.sequences s using old_rows o where s.tenant_id = o.tenant_id and s.resource = 'files' and s.id = o.id;
  return null;
end $$;
revoke all on function app.files_removed() from public;

create trigger a_begin before insert or update on public.files
  for each statement execute function app.begin_operation();
create trigger b_stamp before insert or update on public.files
  for each row execute function app.files_stamp();
create trigger c_created after insert on public.files referencing new table as new_rows
  for each statement execute function app.files_created();
create trigger c_updated after update on public.files referencing old table as old_rows new table as new_rows
  for each statement execute function app.files_updated();
create trigger c_removed after delete on public.files referencing old table as old_rows
  for each statement execute function app.files_removed();

create function public.files_search(needle text) returns setof public.files
language sql stable security definer set search_path = '' as $$
  select t.* from public.files t
  where t.tenant_id = (select app.tenant_id()) and (select app.role()) in ('admin', 'agent', 'manager', 'system', 'viewer')
    and t.search_text like '%' || replace(replace(replace(lower(needle collate pg_catalog."und-x-icu"), '\', '\\'), '%', '\%'), '_', '\_') || '%'
$$;
revoke all on function public.files_search(text) from public, anon, authenticated, service_role;
grant execute on function public.files_search(text) to authenticated, service_role;

create function app.files_put(rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  outcomes jsonb := '[]';
  image jsonb;
  r public.files;
  taken bigint;
  broken text;
  field text;
  existing text;
begin
  for image in select jsonb_array_elements(rows) loop
    r := jsonb_populate_record(null::public.files, image);
    if r.tenant_id is distinct from app.tenant_id() then
      raise sqlstate '42501' using message = 'the image is another tenant''s';
    end if;
    begin
      insert into app.sequences as s (tenant_id, resource, id, sequence)
        select r.tenant_id, 'files', r.id, $2 where $2 > 0
        on conflict on constraint sequences_pkey do update set sequence = excluded.sequence where s.sequence < excluded.sequence;
      taken := 0;
      if found then
        insert into public.files (id, tenant_id, created_at, updated_at, created_by, updated_by, version, deleted_at, name, content_type, size, sha256, owner_resource, owner_id)
          values (r.id, r.tenant_id, r.created_at, r.updated_at, r.created_by, r.updated_by, r.version, r.deleted_at, r.name, r.content_type, r.size, r.sha256, r.owner_resource, r.owner_id)
          on conflict on constraint files_pkey do update set created_at = excluded.created_at, updated_at = excluded.updated_at, created_by = excluded.created_by, updated_by = excluded.updated_by, version = excluded.version, deleted_at = excluded.deleted_at, name = excluded.name, content_type = excluded.content_type, size = excluded.size, sha256 = excluded.sha256, owner_resource = excluded.owner_resource, owner_id = excluded.owner_id;
        get diagnostics taken = row_count;
      end if;
      outcomes := outcomes || jsonb_build_object('id', r.id, 'written', taken > 0);
    end;
  end loop;
  return outcomes;
end $$;
revoke all on function app.files_put(jsonb, bigint) from public;


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

