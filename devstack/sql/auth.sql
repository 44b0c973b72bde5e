-- The functions that policies call, as hosted projects have them: lite's own read request.jwt.claim.*, and PostgREST sets request.jwt.claims.
-- Run as the superuser, once, after lite has made its tables.
create or replace function auth.uid() returns uuid language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
create or replace function auth.role() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')::text
$$;
create or replace function auth.email() returns text language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim.email', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email')::text
$$;
create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(nullif(current_setting('request.jwt.claim', true), ''), nullif(current_setting('request.jwt.claims', true), ''))::jsonb
$$;
grant execute on all functions in schema auth to public;

-- A confirmed address stands in email_confirmed_at on a hosted project; lite writes confirmed_at alone.
create or replace function auth.confirm_email() returns trigger language plpgsql set search_path = '' as $$
begin
  update auth.users set email_confirmed_at = new.confirmed_at where id = new.id;
  return null;
end $$;
drop trigger if exists lite_confirms on auth.users;
create trigger lite_confirms after insert or update of confirmed_at on auth.users
  for each row when (new.confirmed_at is not null and new.email_confirmed_at is null) execute function auth.confirm_email();

-- Who owns what, as on a hosted project: postgres may put triggers on auth's tables and policies on storage's, and own neither.
do $$
declare
  made record;
begin
  for made in
    select n.nspname, c.relname, c.relkind from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('auth', 'storage') and c.relkind in ('r', 'v')
  loop
    execute pg_catalog.format('alter table %I.%I owner to %I', made.nspname, made.relname, 'supabase_' || made.nspname || '_admin');
  end loop;
  for made in
    select n.nspname, p.oid::pg_catalog.regprocedure as signature from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('auth', 'storage')
  loop
    execute pg_catalog.format('alter function %s owner to %I', made.signature, 'supabase_' || made.nspname || '_admin');
  end loop;
end
$$;
grant all on all tables in schema auth to postgres;
grant all on all tables in schema storage to postgres, service_role;
grant select, insert, update, delete on all tables in schema storage to authenticated, anon;
grant all on all functions in schema storage to postgres, service_role, authenticated, anon;
notify pgrst, 'reload schema';
