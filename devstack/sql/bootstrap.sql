-- What a hosted Supabase database has before a project's first migration. Run as the superuser, supabase_admin, in the project's database.
-- The passwords come as psql variables.

do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'anon') then
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
    create role authenticator login noinherit;
    create role supabase_auth_admin login noinherit createrole;
    create role supabase_storage_admin login noinherit createrole;
  end if;
end
$$;
alter role authenticator password :'authenticator_password';
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role, supabase_storage_admin to postgres with admin option;
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
-- Wherever a session doesn't say so itself, as on a hosted project.
alter role postgres set search_path = '"$user"', public, extensions;
alter role supabase_admin set search_path = '"$user"', public, auth, extensions;

create schema if not exists auth authorization supabase_auth_admin;
create schema if not exists storage authorization supabase_storage_admin;
create schema if not exists extensions authorization postgres;
grant usage on schema public, auth, storage, extensions to anon, authenticated, service_role, postgres;
grant all on schema public to postgres;

-- A project's tables are made by postgres; those that an extension makes, by supabase_admin.
alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema extensions grant all on tables to postgres with grant option;
alter default privileges for role supabase_admin in schema extensions grant all on functions to postgres with grant option;

create extension if not exists pgcrypto with schema extensions;
create extension if not exists "uuid-ossp" with schema extensions;

create publication supabase_realtime;
alter publication supabase_realtime owner to postgres;

-- PostgREST reads its cache of the schema again after each change of it.
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('pgrst', 'reload schema');
end
$$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_ddl_watch();

create schema if not exists supabase_migrations authorization postgres;
create table if not exists supabase_migrations.schema_migrations (version text primary key, statements text[], name text);
alter table supabase_migrations.schema_migrations owner to postgres;

-- A custom setting may be kept with a role by superusers only, or by whom it was granted to: PostgREST's, by the developers.
do $$
declare
  setting text;
begin
  foreach setting in array array[
    'db_aggregates_enabled', 'db_anon_role', 'db_extra_search_path', 'db_max_rows', 'db_plan_enabled', 'db_pre_request', 'db_root_spec', 'db_schemas',
    'db_tx_end', 'jwt_aud', 'jwt_role_claim_key', 'openapi_mode', 'raw_media_types', 'server_cors_allowed_origins', 'server_timing_enabled'
  ] loop
    execute pg_catalog.format('grant set on parameter pgrst.%I to postgres', setting);
  end loop;
end
$$;
