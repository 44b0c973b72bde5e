-- Questions that no URL can hold, and sums. Each is put together from a filter in JSON: columns are looked up in the catalogue, values
-- are quoted, and the whole runs as the caller, so that it reads no more than the caller may read.
--
-- A filter is {"op": "and" | "or", "items": [...]}, or {"field", "op", "value"} with the operators of `interlock.contract`.

-- A column of a table, quoted, and its type. Raises 42703 where there is none.
create function app.column_of(relation regclass, field text, out quoted text, out kind text)
language plpgsql stable set search_path = '' as $$
begin
  select 't.' || quote_ident(a.attname), y.typname into quoted, kind
    from pg_catalog.pg_attribute a join pg_catalog.pg_type y on y.oid = a.atttypid
    where a.attrelid = relation and a.attname = field and a.attnum > 0 and not a.attisdropped;
  if not found then
    raise sqlstate '42703' using message = format('there is no column %I', field);
  end if;
end $$;

-- A filter as a condition on `t`. A null matches nothing but `is_null`.
create function app.where_sql(relation regclass, filter jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
  op constant text := filter ->> 'op';
  given constant jsonb := filter -> 'value';
  plain constant text := filter ->> 'value';
  c record;
  parts text[];
begin
  if filter is null or jsonb_typeof(filter) = 'null' then
    return 'true';
  end if;
  if op in ('and', 'or') then
    select array_agg('(' || app.where_sql(relation, i.item) || ')' order by i.place) into parts
      from jsonb_array_elements(filter -> 'items') with ordinality i (item, place);
    return coalesce(array_to_string(parts, ' ' || op || ' '), case op when 'and' then 'true' else 'false' end);
  end if;
  select * into c from app.column_of(relation, filter ->> 'field');
  if op in ('in', 'nin', 'between') then
    select array_agg(v.value order by v.place) into parts from jsonb_array_elements_text(given) with ordinality v (value, place);
  end if;
  case op
    when 'eq' then return format('%s = %L', c.quoted, plain);
    when 'ne' then return format('%s <> %L', c.quoted, plain);
    when 'lt' then return format('%s < %L', c.quoted, plain);
    when 'lte' then return format('%s <= %L', c.quoted, plain);
    when 'gt' then return format('%s > %L', c.quoted, plain);
    when 'gte' then return format('%s >= %L', c.quoted, plain);
    when 'in' then return format('%s = any (%L)', c.quoted, coalesce(parts, '{}'));
    when 'nin' then return format('%1$s is not null and %1$s <> all (%2$L)', c.quoted, coalesce(parts, '{}'));
    when 'between' then return format('%1$s >= %2$L and %1$s <= %3$L', c.quoted, parts[1], parts[2]);
    when 'startswith' then return format('starts_with(%s, %L)', c.quoted, plain);
    when 'contains' then
      return format(case c.kind when '_text' then '%s @> array[%L]' else 'strpos(%s, %L) > 0' end, c.quoted, plain);
    when 'is_null' then return format(case when given::boolean then '%s is null' else '%s is not null' end, c.quoted);
    else raise sqlstate '22023' using message = 'there is no such operator';
  end case;
end $$;

-- What follows `from`: the rows of a resource as `t` that a question is about. Its members: filter, after (a filter, where a page begins),
-- needle, deleted (without, with, only), near ({"lat", "lon", "km"}).
create function app.from_sql(relation regclass, resource text, question jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
  needle constant text := nullif(question ->> 'needle', '');
  near constant jsonb := nullif(question -> 'near', 'null');
  source text := relation::text;
  found text[] := array[app.where_sql(relation, question -> 'filter')];
begin
  if near is not null then
    source := format('public.%I(%L, %L, %L)', resource || '_near', near ->> 'lat', near ->> 'lon', near ->> 'km');
    if needle is not null then
      found := found || format('strpos(t.search_text, lower(%L collate pg_catalog."und-x-icu")) > 0', needle);
    end if;
  elsif needle is not null then
    source := format('public.%I(%L)', resource || '_search', needle);
  end if;
  case coalesce(question ->> 'deleted', 'without')
    when 'without' then found := found || 't.deleted_at is null'::text;
    when 'only' then found := found || 't.deleted_at is not null'::text;
    else null;
  end case;
  return source || ' t where (' || array_to_string(found, ') and (') || ')';
end $$;

revoke all on function app.column_of(regclass, text), app.where_sql(regclass, jsonb), app.from_sql(regclass, text, jsonb) from public;
grant execute on function app.column_of(regclass, text), app.where_sql(regclass, jsonb), app.from_sql(regclass, text, jsonb)
  to authenticated, service_role;

-- Rows, with their columns under the names of `selected` ({"name": "column"}), in `sorted` ([{"field", "descending"}]) order; and how
-- many there are in all where `counted` is true. See app.from_sql for the rest of a question.
create function public.interlock_find(
  resource text, question jsonb, selected jsonb, sorted jsonb default '[]', most integer default 1000, skipped bigint default 0,
  counted boolean default false
) returns json language plpgsql stable set search_path = '' as $$
declare
  relation constant regclass := format('public.%I', resource)::regclass;
  source constant text := app.from_sql(relation, resource, question);
  columns text;
  keys text;
  rows json;
  total bigint;
begin
  select string_agg(format(case c.kind when 'geography' then 'app.lat_lon(%s) as %I' else '%s as %I' end, c.quoted, s.name), ', ')
    into columns from jsonb_each_text(selected) s (name, field), app.column_of(relation, s.field) c;
  select string_agg(c.quoted || case when (s.key ->> 'descending')::boolean then ' desc nulls last' else '' end, ', ' order by s.place)
    into keys from jsonb_array_elements(sorted) with ordinality s (key, place), app.column_of(relation, s.key ->> 'field') c;
  execute format(
    'select coalesce(json_agg(x), ''[]'') from (select %s from %s and (%s) %s limit %s offset %s) x',
    columns, source, app.where_sql(relation, question -> 'after'), 'order by ' || keys, most, skipped) into rows;
  if counted then
    execute 'select count(*) from ' || source into total;
  end if;
  return json_build_object('rows', rows, 'total', total);
end $$;

-- One list for each group, its key before its measures, in the order of the keys, nulls last. Amounts are texts, or their digits would be
-- lost. `grouped` is [{"field", "bucket"}], `measured` [{"op", "field"}]. See app.from_sql for the question.
create function public.interlock_aggregate(resource text, question jsonb, grouped jsonb, measured jsonb)
returns json language plpgsql stable set search_path = '' as $$
declare
  relation constant regclass := format('public.%I', resource)::regclass;
  c record;
  part record;
  keys text[] := '{}';
  shown text[] := '{}';
  this text;
  groups json;
begin
  for part in
    select i.item ->> 'field' as field, i.item ->> 'bucket' as bucket from jsonb_array_elements(grouped) with ordinality i (item, place)
    order by i.place
  loop
    select * into c from app.column_of(relation, part.field);
    this := c.quoted;
    if part.bucket is not null then
      this := format('to_char(%s%s, %L) collate "C"', c.quoted, case c.kind when 'timestamptz' then ' at time zone ''UTC''' else '' end,
        case part.bucket when 'day' then 'YYYY-MM-DD' when 'month' then 'YYYY-MM' else 'YYYY' end);
    end if;
    keys := keys || this;
    shown := shown || case c.kind when 'numeric' then this || '::text' else this end;
  end loop;
  for part in
    select i.item ->> 'op' as op, i.item ->> 'field' as field from jsonb_array_elements(measured) with ordinality i (item, place)
    order by i.place
  loop
    if part.field is null then
      shown := shown || 'count(*)'::text;
      continue;
    end if;
    select * into c from app.column_of(relation, part.field);
    case part.op
      when 'sum' then this := 'sum';
      when 'min' then this := case c.kind when 'bool' then 'bool_and' else 'min' end;
      when 'max' then this := case c.kind when 'bool' then 'bool_or' else 'max' end;
      else raise sqlstate '22023' using message = 'there is no such measure';
    end case;
    this := format('%s(%s)', this, c.quoted);
    shown := shown || case when c.kind = 'numeric' then 'trim_scale(' || this || ')::text' else this end;
  end loop;
  execute format(
    'select coalesce(json_agg(g.shown), ''[]'') from (select json_build_array(%s) as shown from %s %s) g',
    array_to_string(shown, ', '), app.from_sql(relation, resource, question),
    case when cardinality(keys) > 0 then format('group by %1$s order by %1$s', array_to_string(keys, ', ')) else '' end) into groups;
  return groups;
end $$;

-- Says that Interlock's migrations are here. Reads nothing.
create function public.interlock_version() returns text language sql immutable set search_path = '' as $$ select '1' $$;

revoke all on function public.interlock_find(text, jsonb, jsonb, jsonb, integer, bigint, boolean),
  public.interlock_aggregate(text, jsonb, jsonb, jsonb), public.interlock_version()
  from public, anon, authenticated, service_role;
grant execute on function public.interlock_find(text, jsonb, jsonb, jsonb, integer, bigint, boolean),
  public.interlock_aggregate(text, jsonb, jsonb, jsonb) to authenticated, service_role;
grant execute on function public.interlock_version() to anon, authenticated, service_role;
