-- What edge functions call; and bytes that no record names may be taken back.

drop policy interlock_files_delete on storage.objects;
create policy interlock_files_delete on storage.objects for delete to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (
    (select app.may('delete', 'files')) or (select app.may('create', 'files')) and not exists (
      select from public.files f where f.tenant_id = (select app.tenant_id()) and f.id = split_part(objects.name, '/', 2)
    )
  ));

-- What the edge functions call, with the caller's own token: row-level security and the triggers hold in all of it.

-- Who the caller is to the policies: the token's word, or the membership's where there is one.
create function public.interlock_caller() returns jsonb language sql stable set search_path = '' as $$
  select jsonb_build_object('tenant_id', c.tenant_id, 'user_id', c.user_id, 'role', c.role) from app.caller() c
$$;
revoke all on function public.interlock_caller() from public, anon, authenticated, service_role;
grant execute on function public.interlock_caller() to authenticated;

-- Begin the operation that the request's headers name, if any. Raises PT409 where it was done before, PT422 where it was another one.
create function app.begin_named() returns void language plpgsql volatile set search_path = '' as $$
declare
  headers constant json := nullif(current_setting('request.headers', true), '')::json;
  named constant text := nullif(headers ->> 'x-interlock-operation', '');
  caller record;
begin
  select * into caller from app.caller();
  if named is not null and caller.tenant_id is not null then
    perform app.remember_operation(caller.tenant_id, caller.user_id,
      coalesce(substring(named from '^(.*)/[^/]*$'), named), coalesce(substring(named from '/([^/]*)$'), '0'),
      coalesce(headers ->> 'x-interlock-fingerprint', ''));
  end if;
end $$;
revoke all on function app.begin_named() from public;
grant execute on function app.begin_named() to authenticated;

-- Point what refers to the losers at the winner; how many rows of each resource that was.
create function app.move_references(winner text, losers text[]) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  tenant constant text := app.tenant_id();
  moved jsonb := '{}';
  n bigint;
begin
  update public.deals t set customer_id = winner
    where t.tenant_id = tenant and t.customer_id = any (losers) and t.deleted_at is null;
  get diagnostics n = row_count;
  moved := moved || jsonb_build_object('deals', n);
  update public.tickets t set customer_id = winner
    where t.tenant_id = tenant and t.customer_id = any (losers) and t.deleted_at is null;
  get diagnostics n = row_count;
  moved := moved || jsonb_build_object('tickets', n);
  update public.contracts t set customer_id = winner
    where t.tenant_id = tenant and t.customer_id = any (losers) and t.deleted_at is null;
  get diagnostics n = row_count;
  moved := moved || jsonb_build_object('contracts', n);
  update public.files t set owner_id = winner
    where t.tenant_id = tenant and t.owner_resource = 'customers' and t.owner_id = any (losers) and t.deleted_at is null;
  get diagnostics n = row_count;
  return moved || jsonb_build_object('files', n);
end $$;
revoke all on function app.move_references(text, text[]) from public;
grant execute on function app.move_references(text, text[]) to authenticated;

-- Fill the winner's holes from the losers, in their order, and give it their tags.
create function app.fill_customer(winner text, losers text[]) returns void language sql volatile set search_path = '' as $$
  with l as (
    select c.*, u.at from unnest(losers) with ordinality u(id, at)
    join public.customers c on c.tenant_id = (select app.tenant_id()) and c.id = u.id
  ), f as (
    select
      (array_agg(l.address order by l.at) filter (where l.address is not null))[1] as address,
      (array_agg(l.assigned_to order by l.at) filter (where l.assigned_to is not null))[1] as assigned_to,
      (array_agg(l.city order by l.at) filter (where l.city is not null))[1] as city,
      (array_agg(l.contact_name order by l.at) filter (where l.contact_name is not null))[1] as contact_name,
      (array_agg(l.country order by l.at) filter (where l.country is not null))[1] as country,
      (array_agg(l.industry order by l.at) filter (where l.industry is not null))[1] as industry,
      (array_agg(l.location order by l.at) filter (where l.location is not null))[1] as location,
      (array_agg(l.notes order by l.at) filter (where l.notes is not null))[1] as notes,
      (array_agg(l.phone order by l.at) filter (where l.phone is not null))[1] as phone,
      (array_agg(l.size order by l.at) filter (where l.size is not null))[1] as size
    from l
  )
  update public.customers c set
    address = coalesce(c.address, f.address), assigned_to = coalesce(c.assigned_to, f.assigned_to),
    city = coalesce(c.city, f.city), contact_name = coalesce(c.contact_name, f.contact_name),
    country = coalesce(c.country, f.country), industry = coalesce(c.industry, f.industry),
    location = coalesce(c.location, f.location), notes = coalesce(c.notes, f.notes),
    phone = coalesce(c.phone, f.phone), size = coalesce(c.size, f.size),
    tags = (
      select coalesce(array_agg(s.name order by s.at, s.nth), '{}') from (
        select distinct on (lower(t.name collate pg_catalog."und-x-icu")) t.name, t.at, t.nth from (
          select u.name, 0 as at, u.nth from unnest(c.tags) with ordinality u(name, nth)
          union all
          select u.name, l.at, u.nth from l, unnest(l.tags) with ordinality u(name, nth)
        ) t order by lower(t.name collate pg_catalog."und-x-icu"), t.at, t.nth
      ) s)
  from f where c.tenant_id = (select app.tenant_id()) and c.id = winner
$$;
revoke all on function app.fill_customer(text, text[]) from public;
grant execute on function app.fill_customer(text, text[]) to authenticated;

-- Make one customer of several, all or nothing, as Interlock's own service does it. An operation id makes a repetition harmless.
create function public.merge_customers(winner text, losers text[]) returns jsonb
language plpgsql volatile set search_path = '' as $$
declare
  tenant constant text := app.tenant_id();
  wanted text[];
  moved jsonb := '{"deals": 0, "tickets": 0, "contracts": 0, "files": 0}';
  missing text;
  freed text;
  kept jsonb;
begin
  -- The roles are those of the action "merge" in services/policy.py, which a test holds this to.
  if app.role() in ('admin', 'manager', 'system') is not true then
    raise sqlstate '42501' using message = 'customers: the role may not merge';
  end if;
  select array_agg(x.id order by x.at) into wanted
    from (select u.id, min(u.at) as at from unnest(losers) with ordinality u(id, at) group by u.id) x;
  begin
    perform app.begin_named();
  exception when sqlstate 'PT409' then
    select to_jsonb(c) - 'search_text' || jsonb_build_object('location', app.lat_lon(c.location)) into kept
      from public.customers c where c.tenant_id = tenant and c.id = winner;
    return jsonb_build_object('winner', kept, 'merged', wanted, 'moved', moved);
  end;
  if wanted is null or winner is null or winner = any (wanted) or cardinality(wanted) > 100 then
    raise sqlstate 'PT400' using message = 'invalid',
      detail = jsonb_build_object('losers', 'is empty, has the winner among them, or more than 100 customers')::text;
  end if;
  perform from public.customers c where c.tenant_id = tenant and c.id = any (wanted || winner) order by c.id for update;
  select u.id into missing from unnest(winner || wanted) with ordinality u(id, at)
    where not exists (
      select from public.customers c where c.tenant_id = tenant and c.id = u.id and c.deleted_at is null
    ) order by u.at limit 1;
  if missing is not null then
    raise sqlstate 'PT404' using message = 'not_found', detail = jsonb_build_object('resource', 'customers', 'id', missing)::text;
  end if;
  moved := app.move_references(winner, wanted);
  perform app.fill_customer(winner, wanted);
  update public.customers c set deleted_at = now() where c.tenant_id = tenant and c.id = any (wanted);
  select c.email into freed from unnest(wanted) with ordinality u(id, at)
    join public.customers c on c.tenant_id = tenant and c.id = u.id
    where c.email is not null order by u.at limit 1;
  begin  -- an address is unique, so it is free only once the loser is deleted, and somebody else may take it meanwhile
    update public.customers c set email = freed
      where c.tenant_id = tenant and c.id = winner and c.email is null and freed is not null;
  exception when unique_violation then
    null;
  end;
  select to_jsonb(c) - 'search_text' || jsonb_build_object('location', app.lat_lon(c.location)) into kept
    from public.customers c where c.tenant_id = tenant and c.id = winner;
  return jsonb_build_object('winner', kept, 'merged', wanted, 'moved', moved);
end $$;
revoke all on function public.merge_customers(text, text[]) from public, anon, authenticated, service_role;
grant execute on function public.merge_customers(text, text[]) to authenticated;

-- Notify one user of the tenant, or all active ones of a role, in one statement; the new notifications' ids.
create function public.send_notification(
  kind text, title text, to_user text default null, to_role text default null, body text default null, link text default null
) returns jsonb language plpgsql volatile set search_path = '' as $$
declare
  tenant constant text := app.tenant_id();
  done jsonb;
  sent jsonb;
begin
  if app.may('create', 'notifications') is not true
    or to_role is not null and app.role() in ('admin', 'manager', 'system') is not true then
    raise sqlstate '42501' using message = 'notifications: the role may not send this';
  end if;
  begin
    perform app.begin_named();
  exception when sqlstate 'PT409' then
    get stacked diagnostics sent = pg_exception_detail;
    select coalesce(jsonb_agg(r -> 'id'), '[]') into sent from jsonb_array_elements(sent -> 'rows') r;
    return jsonb_build_object('sent', jsonb_array_length(sent), 'ids', sent);
  end;
  with made as (
    insert into public.notifications as n (user_id, kind, title, body, link)
    select u.id, send_notification.kind, send_notification.title, send_notification.body, send_notification.link
      from public.users u
      where u.tenant_id = tenant and u.deleted_at is null
        and case when to_user is not null then u.id = to_user else u.role = to_role and u.active end
    returning n.id
  )
  select coalesce(jsonb_agg(made.id), '[]') into sent from made;
  if sent = '[]' then
    done := case when to_user is not null then '{"user_id": "names no user; give the id of one"}'
      else '{"role": "no active user has it"}' end;
    raise sqlstate 'PT400' using message = 'invalid', detail = done::text;
  end if;
  return jsonb_build_object('sent', jsonb_array_length(sent), 'ids', sent);
end $$;
revoke all on function public.send_notification(text, text, text, text, text, text) from public, anon, authenticated, service_role;
grant execute on function public.send_notification(text, text, text, text, text, text) to authenticated;
