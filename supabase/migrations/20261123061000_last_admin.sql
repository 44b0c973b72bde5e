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
