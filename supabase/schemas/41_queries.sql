-- What a URL of PostgREST can't say, or is too short for: filters as JSON, sums by groups, who has a unique value.
--
-- A filter is {"op": "and"|"or", "items": [...]} or {"field", "op", "value"}; values are texts. It becomes SQL through %I and %L
-- alone, and its fields must be columns of the table.

create function app.where_sql(relation regclass, filter jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
  parts text[];
  item jsonb;
  named constant text := filter ->> 'field';
  op constant text := filter ->> 'op';
  value constant text := filter ->> 'value';
  kind text;
begin
  if filter is null or jsonb_typeof(filter) = 'null' then
    return 'true';
  end if;
  if filter ? 'items' then
    for item in select jsonb_array_elements(filter -> 'items') loop
      parts := parts || app.where_sql(relation, item);
    end loop;
    return case
      when parts is null then case when op = 'or' then 'false' else 'true' end
      else '(' || array_to_string(parts, case when op = 'or' then ' or ' else ' and ' end) || ')' end;
  end if;
  select pg_catalog.format_type(a.atttypid, a.atttypmod) into kind from pg_catalog.pg_attribute a
    where a.attrelid = relation and a.attname = named and a.attnum > 0 and not a.attisdropped;
  if kind is null then
    raise sqlstate 'PT400' using message = 'unknown_field';
  end if;
  case op
    when 'is_null' then
      return format(case when value = 'true' then 't.%I is null' else 't.%I is not null' end, named);
    when 'in', 'nin' then
      parts := array(select jsonb_array_elements_text(filter -> 'value'));
      return format(
        case op when 'in' then 't.%I = any (%L::%s[])' else '(t.%1$I is not null and t.%1$I <> all (%2$L::%3$s[]))' end,
        named, parts, kind);
    when 'between' then
      return format('t.%1$I between %2$L::%4$s and %3$L::%4$s', named, filter -> 'value' ->> 0, filter -> 'value' ->> 1, kind);
    when 'contains' then
      return case
        when kind like '%[]' then format('%L = any (t.%I)', value, named)
        else format('position(%L in t.%I) > 0', value, named) end;
    when 'startswith' then
      return format('starts_with(t.%I, %L)', named, value);
    when 'eq', 'ne', 'lt', 'lte', 'gt', 'gte' then
      return format('t.%I %s %L::%s', named,
        case op when 'eq' then '=' when 'ne' then '<>' when 'lt' then '<' when 'lte' then '<=' when 'gt' then '>' else '>=' end,
        value, kind);
    else
      raise sqlstate 'PT400' using message = 'unknown_operator';
  end case;
end $$;

-- Which rows of a table of ours are meant: of a filter, a search, a place, deleted or not.
create function app.matching_sql(relation regclass, filter jsonb, needle text, deleted text, near jsonb) returns text
language plpgsql stable set search_path = '' as $$
declare
  place name;
begin
  if near is not null then
    select a.attname into place from pg_catalog.pg_attribute a
      where a.attrelid = relation and a.atttypid = 'extensions.geography'::regtype and not a.attisdropped;
    if place is null then
      raise sqlstate 'PT400' using message = 'no_location';
    end if;
  end if;
  return app.where_sql(relation, filter)
    || case deleted when 'with' then '' when 'only' then ' and t.deleted_at is not null' else ' and t.deleted_at is null' end
    || case when coalesce(needle, '') = '' then '' else
      format(' and position(%L in t.search_text) > 0', lower(needle collate pg_catalog."und-x-icu")) end
    || case when near is null then '' else format(
      ' and extensions.st_dwithin(t.%I, extensions.st_setsrid(extensions.st_makepoint(%L::float8, %L::float8), 4326)::extensions.geography, %L::float8 * 1000, false)',
      place, near ->> 'lon', near ->> 'lat', near ->> 'km') end;
end $$;

-- A table of ours by its resource, if the caller may read it.
create function app.table_of(resource text) returns regclass language plpgsql stable security definer set search_path = '' as $$
begin
  if not app.may('list', resource) then
    raise sqlstate '42501' using message = 'the caller may not read this resource';
  end if;
  return format('public.%I', resource)::regclass;
end $$;

-- Sums by groups: one array for each group, its keys and then its values; groups by key, nulls last. It runs as the caller, so
-- that row-level security holds.
create function public.interlock_aggregate(
  resource text, filter jsonb, needle text, deleted text, groups jsonb, measures jsonb
) returns json language plpgsql stable set search_path = '' as $$
declare
  relation constant regclass := app.table_of(resource);
  keys text[];
  items text[];
  part jsonb;
  expression text;
  kind text;
  answer json;
begin
  for part in select jsonb_array_elements(groups || measures) loop
    kind := null;
    if part ->> 'field' is not null then
      select pg_catalog.format_type(a.atttypid, a.atttypmod) into kind from pg_catalog.pg_attribute a
        where a.attrelid = relation and a.attname = part ->> 'field' and a.attnum > 0 and not a.attisdropped;
      if kind is null then
        raise sqlstate 'PT400' using message = 'unknown_field';
      end if;
    end if;
    if part ? 'bucket' then
      expression := case part ->> 'bucket'
        when 'day' then 'to_char(t.%I%s, ''YYYY-MM-DD'')'
        when 'month' then 'to_char(t.%I%s, ''YYYY-MM'')'
        when 'year' then 'to_char(t.%I%s, ''YYYY'')'
        else 't.%I' end;
      expression := format(expression, part ->> 'field', case when kind like 'timestamp%' then ' at time zone ''UTC''' else '' end);
      if part ->> 'bucket' is not null then
        expression := expression || ' collate "C"';
      end if;
      keys := keys || expression;
      items := items || format('to_json(%s)', expression);
    else
      items := items || case
        when part ->> 'op' = 'count' then 'to_json(count(*))'
        when part ->> 'op' = 'sum' then format('to_json(sum(t.%I))', part ->> 'field')
        when part ->> 'op' = 'min' and kind = 'boolean' then format('to_json(bool_and(t.%I))', part ->> 'field')
        when part ->> 'op' = 'max' and kind = 'boolean' then format('to_json(bool_or(t.%I))', part ->> 'field')
        when part ->> 'op' in ('min', 'max') then format('to_json(%s(t.%I))', part ->> 'op', part ->> 'field') end;
    end if;
  end loop;
  execute format(
    'select coalesce(json_agg(g.item %s), ''[]'') from (select %s json_build_array(%s) as item from %s t where %s %s) g',
    case when keys is null then '' else 'order by ' || (
      select string_agg(format('g.k%s nulls last', n), ', ') from generate_subscripts(keys, 1) n) end,
    case when keys is null then '' else (
      select string_agg(format('%s as k%s, ', keys[n], n), '') from generate_subscripts(keys, 1) n) end,
    array_to_string(items, ', '), relation, app.matching_sql(relation, filter, needle, deleted, null),
    case when keys is null then '' else 'group by ' || array_to_string(keys, ', ') end)
    into answer;
  return answer;
end $$;

-- Which undeleted row of the caller's tenant has each of the values of a unique field.
create function public.interlock_taken(resource text, field text, folded boolean, wanted text[]) returns json
language plpgsql stable set search_path = '' as $$
declare
  relation constant regclass := app.table_of(resource);
  answer json;
begin
  if not exists (select from pg_catalog.pg_attribute a
      where a.attrelid = relation and a.attname = field and a.attnum > 0 and not a.attisdropped) then
    raise sqlstate 'PT400' using message = 'unknown_field';
  end if;
  execute format(
    'select coalesce(json_object_agg(found.value, found.id), ''{}'') from (
       select %1$s as value, t.id from %2$s t where t.tenant_id = (select app.tenant_id()) and t.deleted_at is null and %1$s = any ($1)
     ) found',
    format(case when folded then 'lower(t.%I collate pg_catalog."und-x-icu")' else 't.%I::text' end, field), relation)
    using wanted into answer;
  return answer;
end $$;

-- Which of these migrations the project has: what a probe asks for, without a log-in.
create function public.interlock_version() returns text language sql immutable parallel safe set search_path = '' as $$
  select '1'
$$;

revoke all on function app.where_sql(regclass, jsonb), app.matching_sql(regclass, jsonb, text, text, jsonb), app.table_of(text)
  from public;
grant execute on function app.where_sql(regclass, jsonb), app.matching_sql(regclass, jsonb, text, text, jsonb), app.table_of(text)
  to authenticated, service_role;
revoke all on function public.interlock_aggregate(text, jsonb, text, text, jsonb, jsonb),
  public.interlock_taken(text, text, boolean, text[]), public.interlock_version() from public, anon, authenticated, service_role;
grant execute on function public.interlock_aggregate(text, jsonb, text, text, jsonb, jsonb),
  public.interlock_taken(text, text, boolean, text[]) to authenticated, service_role;
grant execute on function public.interlock_version() to anon, authenticated, service_role;
