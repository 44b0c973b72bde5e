-- The private bucket of the files' bytes: each tenant's lie under its own first folder.

insert into storage.buckets (id, name, public) values ('files', 'files', false) on conflict (id) do nothing;

create policy interlock_files_select on storage.objects for select to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('list', 'files')));
create policy interlock_files_insert on storage.objects for insert to authenticated
  with check (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('create', 'files')));
create policy interlock_files_update on storage.objects for update to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('update', 'files')))
  with check (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (select app.may('update', 'files')));
-- Who may not delete files may still take back bytes that no record names: an upload whose record was refused.
create policy interlock_files_delete on storage.objects for delete to authenticated
  using (bucket_id = 'files' and split_part(name, '/', 1) = (select app.tenant_id()) and (
    (select app.may('delete', 'files')) or (select app.may('create', 'files')) and not exists (
      select from public.files f where f.tenant_id = (select app.tenant_id()) and f.id = split_part(objects.name, '/', 2)
    )
  ));
