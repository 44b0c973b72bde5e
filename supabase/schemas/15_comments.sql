-- Made from the entity by `interlock supabase generate`. Edit the entity and run that again, not this file.

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

