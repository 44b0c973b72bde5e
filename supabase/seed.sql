-- Demo tenants, users and a few records. Everybody may know the password, interlock-demo: for development alone.
-- `supabase db push` leaves this out unless it is told otherwise.

insert into app.tenants (id, name) values
  ('01930000-0000-7000-8000-00000000ac3e', 'Acme'),
  ('01930000-0000-7000-8000-00000000910b', 'Globex')
on conflict (id) do update set name = excluded.name;

insert into public.users (tenant_id, id, created_by, email, display_name, role) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac301', '01930000-0000-7000-8000-0000000ac301',
    'admin@acme.test', 'Ada Admin', 'admin'),
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac302', '01930000-0000-7000-8000-0000000ac301',
    'agent@acme.test', 'Anton Agent', 'agent'),
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac303', '01930000-0000-7000-8000-0000000ac301',
    'viewer@acme.test', 'Vera Viewer', 'viewer'),
  ('01930000-0000-7000-8000-00000000910b', '01930000-0000-7000-8000-000000910b01', '01930000-0000-7000-8000-000000910b01',
    'admin@globex.test', 'Gloria Globex', 'admin')
on conflict do nothing;

-- One hash for all four: a cost of ten takes its time. An auth user here has the id of the user.
insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  created_at, updated_at, confirmation_token, recovery_token, email_change, email_change_token_new
)
select '00000000-0000-0000-0000-000000000000', u.id::uuid, 'authenticated', 'authenticated', u.email, demo.hash, now(),
  jsonb_build_object(
    'provider', 'email', 'providers', jsonb_build_array('email'), 'tenant_id', u.tenant_id, 'user_id', u.id, 'role', u.role),
  jsonb_build_object('display_name', u.display_name), now(), now(), '', '', '', ''
from public.users u, (select extensions.crypt('interlock-demo', extensions.gen_salt('bf', 10)) as hash) demo
where u.email in ('admin@acme.test', 'agent@acme.test', 'viewer@acme.test', 'admin@globex.test')
  and not exists (select from auth.users a where a.id = u.id::uuid);

insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select u.id::uuid, u.id, u.id::uuid, jsonb_build_object('sub', u.id, 'email', u.email, 'email_verified', true), 'email', now(), now(), now()
from public.users u
where u.email in ('admin@acme.test', 'agent@acme.test', 'viewer@acme.test', 'admin@globex.test')
  and not exists (select from auth.identities i where i.user_id = u.id::uuid);

insert into public.tags (tenant_id, id, created_by, name, color) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac311', '01930000-0000-7000-8000-0000000ac301', 'vip', '#c0392b')
on conflict do nothing;

insert into public.stages (tenant_id, id, created_by, label, position, probability, type) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac321', '01930000-0000-7000-8000-0000000ac301', 'Qualified', 1, 20, 'open'),
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac322', '01930000-0000-7000-8000-0000000ac301', 'Won', 2, 100, 'won')
on conflict do nothing;

insert into public.customers (
  tenant_id, id, created_by, company_name, contact_name, email, city, country, industry, size, status, assigned_to, location, tags
) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac331', '01930000-0000-7000-8000-0000000ac301',
    'Köln Optik GmbH', 'Jörg Krämer', 'joerg@koeln-optik.test', 'Köln', 'DE', 'manufacturing', 'medium', 'active',
    '01930000-0000-7000-8000-0000000ac302', 'SRID=4326;POINT(6.96 50.94)', '{vip}'),
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac332', '01930000-0000-7000-8000-0000000ac301',
    'Łódź Textiles', 'Zofia Wójcik', 'zofia@lodz-textiles.test', 'Łódź', 'PL', 'retail', 'small', 'prospect',
    null, 'SRID=4326;POINT(19.46 51.76)', '{}'),
  ('01930000-0000-7000-8000-00000000910b', '01930000-0000-7000-8000-000000910b31', '01930000-0000-7000-8000-000000910b01',
    'Initech', 'Bill L.', 'bill@initech.test', 'Austin', 'US', 'software', 'large', 'lead', null, 'SRID=4326;POINT(-97.74 30.27)', '{}')
on conflict do nothing;

insert into public.deals (tenant_id, id, created_by, title, customer_id, stage_id, amount, currency, probability, expected_close) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac341', '01930000-0000-7000-8000-0000000ac301',
    'Lenses for 2027', '01930000-0000-7000-8000-0000000ac331', '01930000-0000-7000-8000-0000000ac321', 48000.50, 'EUR', 20, '2027-03-31')
on conflict do nothing;

insert into public.tickets (tenant_id, id, created_by, subject, description, customer_id, priority) values
  ('01930000-0000-7000-8000-00000000ac3e', '01930000-0000-7000-8000-0000000ac351', '01930000-0000-7000-8000-0000000ac302',
    'The portal shows no invoices', 'Since Monday.', '01930000-0000-7000-8000-0000000ac331', 'high')
on conflict do nothing;
