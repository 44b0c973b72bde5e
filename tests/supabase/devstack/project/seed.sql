insert into public.notes (id, tenant_id, n) values (1000, 'seeded', 'from seed.sql');
