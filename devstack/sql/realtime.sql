-- The local relay's source of changes: each statement on a table of the publication supabase_realtime leaves its rows here, and says so.
-- Nothing of this is on a hosted project, which reads the write-ahead log. A row of the log, though, can come before it is visible to the
-- check of who may see it; a notification never does. Run as the superuser, before any migration.

create schema _realtime;
create unlogged table _realtime.statements (id bigint generated always as identity primary key, payload jsonb not null);
create unlogged table _realtime.subscribed (relation oid primary key);
comment on table _realtime.subscribed is 'The tables that somebody listens to; 0 stands for all. Others cost nothing.';

create function _realtime.emit() returns trigger language plpgsql security definer set search_path = '' as $$
declare
  changed jsonb;
  statement bigint;
begin
  if not exists (select from _realtime.subscribed s where s.relation in (0, tg_relid)) then
    return null;
  end if;
  -- The alias is no column's name: to_jsonb(n) would be the column n where a table has one.
  if tg_op = 'INSERT' then
    select jsonb_agg(jsonb_build_object('new', to_jsonb(_realtime_row))) into changed from new_rows _realtime_row;
  elsif tg_op = 'DELETE' then
    select jsonb_agg(jsonb_build_object('old', to_jsonb(_realtime_row))) into changed from old_rows _realtime_row;
  else
    -- PostgreSQL keeps both in the same order, and gives no other way to join a row whose key changed.
    select jsonb_agg(jsonb_build_object('new', n.image, 'old', o.image) order by n.place) into changed
    from (select to_jsonb(_realtime_row) as image, row_number() over () as place from new_rows _realtime_row) n
    join (select to_jsonb(_realtime_row) as image, row_number() over () as place from old_rows _realtime_row) o using (place);
  end if;
  if changed is not null then
    insert into _realtime.statements (payload) values (jsonb_build_object(
      'relation', tg_relid::bigint, 'schema', tg_table_schema, 'table', tg_table_name, 'type', tg_op, 'rows', changed,
      'at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))
    returning id into statement;
    perform pg_notify('_realtime', statement::text);
  end if;
  return null;
end
$$;

-- The triggers follow the publication by themselves, whenever a migration changes it.
create function _realtime.follow() returns event_trigger language plpgsql security definer set search_path = '' as $$
declare
  published record;
begin
  for published in
    select c.oid::regclass as relation from pg_publication_tables p join pg_namespace n on n.nspname = p.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
    where p.pubname = 'supabase_realtime'
      and not exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = '_realtime_insert')
  loop
    execute format('create trigger _realtime_insert after insert on %s referencing new table as new_rows
      for each statement execute function _realtime.emit()', published.relation);
    execute format('create trigger _realtime_update after update on %s referencing old table as old_rows new table as new_rows
      for each statement execute function _realtime.emit()', published.relation);
    execute format('create trigger _realtime_delete after delete on %s referencing old table as old_rows
      for each statement execute function _realtime.emit()', published.relation);
  end loop;
  for published in
    select t.tgrelid::regclass as relation from pg_trigger t
    where t.tgname = '_realtime_insert' and not exists (
      select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
      where r.prrelid = t.tgrelid and p.pubname = 'supabase_realtime')
  loop
    execute format('drop trigger _realtime_insert on %s', published.relation);
    execute format('drop trigger _realtime_update on %s', published.relation);
    execute format('drop trigger _realtime_delete on %s', published.relation);
  end loop;
end
$$;
create event trigger _realtime_follow on ddl_command_end when tag in ('ALTER PUBLICATION') execute function _realtime.follow();
