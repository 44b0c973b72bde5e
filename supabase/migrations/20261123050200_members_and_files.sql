-- What only Interlock itself may do, by the role `system` of a token that it signs: put exact images, and forward the trail.

create function app.only_system() returns void language plpgsql stable security definer set search_path = '' as $$
begin
  if app.role() is distinct from 'system' then
    raise sqlstate '42501' using message = 'only Interlock itself does this';
  end if;
end $$;
revoke all on function app.only_system() from public;

-- Exact images of rows, by column names (a place as EWKT), where the stored sequence is lower. One outcome each, in order:
-- {id, written}, and {field, existing_id} where another row has the unique value. Under an operation id they are kept, and
-- answered again, as those of other writes are.
create function public.interlock_put(resource text, rows jsonb, sequence bigint) returns jsonb
language plpgsql volatile security definer set search_path = '' as $$
declare
  headers constant json := nullif(current_setting('request.headers', true), '')::json;
  named constant text := nullif(headers ->> 'x-interlock-operation', '');
  operation constant text := coalesce(substring(named from '^(.*)/[^/]*$'), named);
  part constant text := coalesce(substring(named from '/([^/]*)$'), '0');
  outcomes jsonb;
begin
  perform app.only_system();
  if not exists (select from app.permissions p where p.resource = interlock_put.resource) then
    raise sqlstate 'PT404' using message = 'unknown_resource';
  end if;
  if named is not null then
    perform app.remember_operation(
      app.tenant_id(), app.user_id(), operation, part, coalesce(headers ->> 'x-interlock-fingerprint', ''));
  end if;
  perform set_config('app.putting', 'on', true);
  execute format('select app.%I($1, $2)', resource || '_put') into outcomes using rows, sequence;
  perform set_config('app.putting', '', true);
  if named is not null then
    update app.operations o set rejected = outcomes::json
      where o.tenant_id = app.tenant_id() and o.operation_id = operation and o.step = part;
  end if;
  return outcomes;
end $$;

-- The oldest entries that nobody has acknowledged, of all tenants.
create function public.interlock_pending_audit("limit" integer) returns setof public.audit
language plpgsql stable security definer set search_path = '' as $$
begin
  perform app.only_system();
  return query
    select a.* from app.pending_audit p join public.audit a on a.tenant_id = p.tenant_id and a.id = p.id
    order by p.at, p.tenant_id, p.id limit "limit";
end $$;

create function public.interlock_acknowledge_audit(ids text[]) returns void
language plpgsql volatile security definer set search_path = '' as $$
begin
  perform app.only_system();
  delete from app.pending_audit p where p.id = any (ids);
end $$;

revoke all on function public.interlock_put(text, jsonb, bigint), public.interlock_pending_audit(integer),
  public.interlock_acknowledge_audit(text[]) from public, anon, authenticated, service_role;
grant execute on function public.interlock_put(text, jsonb, bigint), public.interlock_pending_audit(integer),
  public.interlock_acknowledge_audit(text[]) to authenticated;

-- The users' table decides who is a member, and in which role; Supabase's auth follows it.

-- A user's line in the memberships, and the metadata of the auth user who is this user.
create function app.keep_membership() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  revoked constant timestamptz := case when not new.active or new.deleted_at is not null then now() end;
begin
  insert into app.tenants (id) values (new.tenant_id) on conflict do nothing;
  insert into app.memberships as m (tenant_id, user_id, role, revoked_at) values (new.tenant_id, new.id, new.role, revoked)
    on conflict (tenant_id, user_id) do update set role = excluded.role,
      revoked_at = case when excluded.revoked_at is null then null else coalesce(m.revoked_at, excluded.revoked_at) end;
  update auth.users u set raw_app_meta_data = u.raw_app_meta_data || jsonb_build_object('role', new.role)
    where u.raw_app_meta_data ->> 'tenant_id' = new.tenant_id and u.raw_app_meta_data ->> 'user_id' = new.id
      and u.raw_app_meta_data ->> 'role' is distinct from new.role;
  if revoked is null then
    update auth.users u set raw_app_meta_data = u.raw_app_meta_data
      where lower(u.email) = lower(new.email) and u.email_confirmed_at is not null
        and u.raw_app_meta_data ->> 'tenant_id' is null;
  end if;
  return null;
end $$;
revoke all on function app.keep_membership() from public;

create trigger d_member_made after insert on public.users
  for each row execute function app.keep_membership();
create trigger d_member_changed after update on public.users
  for each row when (
    old.role <> new.role or old.active <> new.active or old.email <> new.email
    or (old.deleted_at is null) <> (new.deleted_at is null)
  ) execute function app.keep_membership();

-- Who was erased, by the service role, is let go like one who was deleted.
create function app.end_membership() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  update app.memberships m set revoked_at = coalesce(m.revoked_at, now())
    where m.tenant_id = old.tenant_id and m.user_id = old.id;
  return null;
end $$;
revoke all on function app.end_membership() from public;

create trigger d_member_erased after delete on public.users
  for each row execute function app.end_membership();

-- An auth user whose confirmed address has exactly one invited user becomes that user. The tenant named at sign-up chooses among
-- several invitations and grants nothing. It runs on each change, since auth writes app_metadata anew when it adds a provider.
create function app.join_tenant() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  wanted constant text := nullif(new.raw_user_meta_data ->> 'tenant_id', '');
  invited record;
begin
  if new.email_confirmed_at is null or new.email is null or new.raw_app_meta_data ->> 'tenant_id' is not null then
    return new;
  end if;
  select min(u.tenant_id) as tenant_id, min(u.id) as user_id, min(u.role) as role, count(*) as found into invited
    from public.users u
    where lower(u.email collate pg_catalog."und-x-icu") = lower(new.email::text collate pg_catalog."und-x-icu")
      and u.active and u.deleted_at is null and (wanted is null or u.tenant_id = wanted);
  if invited.found = 1 then
    new.raw_app_meta_data := coalesce(new.raw_app_meta_data, '{}') || jsonb_build_object(
      'tenant_id', invited.tenant_id, 'user_id', invited.user_id, 'role', invited.role);
  end if;
  return new;
end $$;
revoke all on function app.join_tenant() from public;

create index users_email_idx on public.users (lower(email collate pg_catalog."und-x-icu"));
create trigger interlock_join before insert or update of email, email_confirmed_at, raw_app_meta_data on auth.users
  for each row execute function app.join_tenant();

-- Users who were there before.
insert into app.tenants (id) select distinct u.tenant_id from public.users u on conflict do nothing;
insert into app.memberships (tenant_id, user_id, role, revoked_at)
  select u.tenant_id, u.id, u.role, case when not u.active or u.deleted_at is not null then u.updated_at end from public.users u
  on conflict do nothing;

-- The private bucket of the files' bytes: each tenant's lie under its own first folder.

insert into storage.buckets (id, name, public) values ('files', 'files', false) on conflict (id) do nothing;

create policy interlock_files_select on storage.objects for select to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('list', 'files')));
create policy interlock_files_insert on storage.objects for insert to authenticated
  with check (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('create', 'files')));
create policy interlock_files_update on storage.objects for update to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('update', 'files')))
  with check (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('update', 'files')));
create policy interlock_files_delete on storage.objects for delete to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('delete', 'files')));
