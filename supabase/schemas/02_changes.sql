-- The log of accepted writes, that watchers read. Realtime tells of its rows; they are read from here.

create table public.changes (
  tenant_id text collate "C" not null,
  position bigint generated always as identity primary key,
  xid xid8 not null default pg_current_xact_id(),
  resource text collate "C" not null,
  record_id text collate "C" not null,
  version bigint not null,
  kind text collate "C" not null check (kind in ('created', 'updated', 'deleted', 'restored')),
  at timestamptz not null default now()
);
create index changes_window_idx on public.changes (tenant_id, resource, xid, position);
create index changes_at_idx on public.changes using brin (at);

alter table public.changes enable row level security;
alter table public.changes force row level security;
create policy changes_select on public.changes for select to authenticated
  using (tenant_id = (select app.tenant_id()) and resource = any ((select app.readable())::text[]));

revoke all on public.changes from public, anon, authenticated, service_role;
grant select on public.changes to authenticated, service_role;
-- How many writes all tenants made is nobody's to read.
revoke all on sequence public.changes_position_seq from public, anon, authenticated, service_role;

alter publication supabase_realtime add table public.changes;
