-- Reading the log of changes: what was committed between two snapshots, so that nothing is missed or told twice in whatever
-- order transactions begin and commit, and no long transaction holds the others' changes back.
--
-- A position is <database>.<snapshot>, or <database>.<snapshot>.<snapshot>.<position> within a page: all that the first snapshot
-- saw, and of what the second one saw besides, the rows up to a position. Within such a window rows come by position, which a
-- writer draws while it holds the row's lock: a record's versions keep their order.

-- Up to which transaction the log was pruned: who has not seen it all reads again.
create table app.changes_pruned (
  tenant_id text collate "C" not null,
  resource text collate "C" not null,
  upto xid8 not null,
  primary key (tenant_id, resource)
);
alter table app.changes_pruned enable row level security;
revoke all on app.changes_pruned from public, anon, authenticated, service_role;

-- The accepted writes of the caller's tenant after a position, oldest first:
-- {"position", "resync", "more", "changes": [[position, kind, record id, version]]}.
-- No position: from now on. One that is not known here, or whose changes were pruned: resync. Call it by POST: a read replica,
-- which GET may reach, has no snapshots to compare.
create function public.interlock_changes(resource text, since text default null, most integer default 500) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_variable
declare
  tenant constant text := app.tenant_id();
  database constant text := (select d.oid::text from pg_catalog.pg_database d where d.datname = current_database());
  latest constant pg_snapshot := pg_current_snapshot();
  parts constant text[] := string_to_array(since, '.');
  seen pg_snapshot;
  upto pg_snapshot;
  place bigint := 0;
  found_rows jsonb;
  counted bigint;
  resync boolean := false;
  more boolean := false;
  answer_position text;
begin
  if tenant is null or not app.may('list', resource) then
    raise sqlstate '42501' using message = 'the caller may not read the changes of this resource';
  end if;
  most := least(greatest(coalesce(most, 500), 1), 1000);
  if since is not null then
    begin
      seen := parts[2]::pg_snapshot;
      upto := coalesce(parts[3]::pg_snapshot, latest);
      place := coalesce(parts[4]::bigint, 0);
    exception when others then
      seen := null;
    end;
    resync := seen is null or parts[1] <> database or cardinality(parts) not in (2, 4)
      or pg_snapshot_xmax(seen) > pg_snapshot_xmax(latest) or pg_snapshot_xmax(upto) > pg_snapshot_xmax(latest)
      or exists (select from app.changes_pruned p
        where p.tenant_id = tenant and p.resource = resource and p.upto >= pg_snapshot_xmin(seen));
  end if;
  if since is not null and not resync then
    select coalesce(jsonb_agg(jsonb_build_array(c.position, c.kind, c.record_id, c.version) order by c.position), '[]'), count(*)
      into found_rows, counted
      from (
        select l.position, l.kind, l.record_id, l.version from public.changes l
        where l.tenant_id = tenant and l.resource = resource
          and l.xid >= pg_snapshot_xmin(seen) and l.xid < pg_snapshot_xmax(upto)
          and not pg_visible_in_snapshot(l.xid, seen) and pg_visible_in_snapshot(l.xid, upto)
          and l.position > place
        order by l.position
        limit most + 1
      ) c;
    if counted > most then
      found_rows := found_rows - most;
      answer_position := concat_ws('.', database, seen, upto, found_rows -> (most - 1) ->> 0);
      more := true;
    else
      answer_position := concat_ws('.', database, upto);
      more := upto::text <> latest::text;
    end if;
  end if;
  return jsonb_build_object(
    'position', coalesce(answer_position, concat_ws('.', database, latest)),
    'window', case when counted > 0 then concat_ws('.', database, seen, upto) end,
    'resync', resync,
    'more', more,
    'changes', coalesce(found_rows, '[]')
  );
end $$;
revoke all on function public.interlock_changes(text, text, integer) from public, anon, authenticated, service_role;
grant execute on function public.interlock_changes(text, text, integer) to authenticated;

-- Forget changes older than `keep`, oldest first, `most` of them; answers how many.
create function app.prune_changes(keep interval default '7 days', most integer default 10000) returns bigint
language plpgsql volatile security definer set search_path = '' as $$
declare
  pruned bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('app.prune_changes', 0)) then
    return 0;  -- another transaction is at it
  end if;
  with old as (
    select l.position from public.changes l order by l.position limit most
  ), gone as (
    delete from public.changes l using old where l.position = old.position and l.at < now() - keep
      returning l.tenant_id, l.resource, l.xid
  ), told as (
    insert into app.changes_pruned as p (tenant_id, resource, upto)
      select g.tenant_id, g.resource, max(g.xid) from gone g group by g.tenant_id, g.resource
      on conflict on constraint changes_pruned_pkey do update set upto = greatest(p.upto, excluded.upto)
  )
  select count(*) into pruned from gone;
  return pruned;
end $$;
revoke all on function app.prune_changes(interval, integer) from public;
grant execute on function app.prune_changes(interval, integer) to service_role;

-- The log prunes itself: one of a hundred writes takes away what is older than a week, a thousand rows at most.
create function app.prune_changes_now_and_then() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  perform app.prune_changes('7 days', 1000);
  return null;
end $$;
revoke all on function app.prune_changes_now_and_then() from public;

create trigger prune after insert on public.changes for each statement when (random() < 0.01)
  execute function app.prune_changes_now_and_then();
