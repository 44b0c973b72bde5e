-- The entries of the trail that nobody has acknowledged yet.

create table app.pending_audit (
  tenant_id text collate "C" not null,
  id text collate "C" not null,
  at timestamptz not null default now(),
  primary key (tenant_id, id)
);
create index pending_audit_at_idx on app.pending_audit (at, tenant_id, id);
alter table app.pending_audit enable row level security;
revoke all on app.pending_audit from public, anon, authenticated, service_role;
