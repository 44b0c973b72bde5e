insert into storage.buckets (id, name, public) values ('papers', 'papers', false);
create policy papers_all on storage.objects for all to authenticated
  using (bucket_id = 'papers' and (storage.foldername(name))[1] = (select auth.jwt() -> 'app_metadata' ->> 'tenant_id'))
  with check (bucket_id = 'papers' and (storage.foldername(name))[1] = (select auth.jwt() -> 'app_metadata' ->> 'tenant_id'));

create function public.check_request() returns void language plpgsql as $$
begin
  if current_setting('request.headers', true)::json ->> 'x-refuse' is not null then
    raise sqlstate 'PT401' using message = 'user_revoked';
  end if;
end
$$;
alter role authenticator set pgrst.db_pre_request = 'public.check_request';
