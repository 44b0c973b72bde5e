-- Which undeleted row of the caller's tenant has each of the values of a unique field.
create function public.interlock_taken(resource text, field text, folded boolean, wanted text[]) returns json
language plpgsql stable set search_path = '' as $$
declare
  relation constant regclass := format('public.%I', resource)::regclass;
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

revoke all on function public.interlock_taken(text, text, boolean, text[]) from public, anon, authenticated, service_role;
grant execute on function public.interlock_taken(text, text, boolean, text[]) to authenticated, service_role;
