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

-- A tenant keeps an active admin: who would take the last one away is refused, also where two take each other away at once. Not
-- for images that are put, nor for the service role.
create function app.keep_an_admin() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  if current_setting('role') <> 'authenticated' or current_setting('app.putting', true) = 'on' then
    return null;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('interlock/admins/' || old.tenant_id, 0));
  if not exists (
    select from public.users u
    where u.tenant_id = old.tenant_id and u.role = 'admin' and u.active and u.deleted_at is null
  ) then
    raise sqlstate 'PT422' using message = 'last_admin', detail = 'the tenant needs an active admin';
  end if;
  return null;
end $$;
revoke all on function app.keep_an_admin() from public;

create trigger d_admin_changed after update on public.users
  for each row when (
    old.role = 'admin' and old.active and old.deleted_at is null
    and (new.role <> 'admin' or not new.active or new.deleted_at is not null)
  ) execute function app.keep_an_admin();

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
