"""The suite is not blind: where a policy, a grant or a trigger is loosened, the attacks on it must fail."""

from __future__ import annotations

import subprocess

import pytest
from tests.supabase.attacks.test_attacks import ATTACKS
from tests.supabase.attacks.world import World

from interlock.devstack import Stack

LOOSENED = {
    "no row-level security on customers": (
        "alter table public.customers disable row level security",
        "alter table public.customers enable row level security",
        ("read every row of customers", "read a row by its guessed id", "name the tenant in the filter", "count the others' rows exactly",
         "read with the official client", "change another tenant's customers", "write as a viewer", "ask a long question about another tenant"),
    ),
    "a select policy of true": (
        "create policy loosened on public.changes for select to authenticated using (true)",
        "drop policy loosened on public.changes",
        ("read every row of changes", "read the log of changes of another tenant", "follow every table by Realtime"),
    ),
    "everything granted on customers": (
        "grant all on public.customers to authenticated",
        "revoke all on public.customers from authenticated; "
        "grant select on public.customers to authenticated; "
        "grant insert (id, company_name, contact_name, email, phone, address, city, country, industry, size, status, notes, assigned_to,"
        " location, tags), update (company_name, contact_name, email, phone, address, city, country, industry, size, status, notes,"
        " assigned_to, location, tags, deleted_at) on public.customers to authenticated",
        ("delete another tenant's rows for good", "forge version", "forge created_by", "forge tenant_id", "slip a foreign row into a bulk insert"),
    ),
    "anon may select": (
        "grant select on public.customers to anon; create policy loosened on public.customers for select to anon using (true)",
        "drop policy loosened on public.customers; revoke all on public.customers from anon",
        ("read customers as anon", "read the tables' description as anon"),
    ),
    "the trail may be edited": (
        "grant update, delete on public.audit to authenticated; create policy loosened on public.audit using (true)",
        "drop policy loosened on public.audit; revoke update, delete on public.audit from authenticated",
        ("edit an entry of the audit trail", "delete an entry of the audit trail", "read every row of audit"),
    ),
    "no policy of the storage": (
        "create policy loosened on storage.objects using (true)",
        "drop policy loosened on storage.objects",
        ("read another tenant's file", "list another tenant's folder", "upload into another tenant's folder", "sign a URL of another tenant's file"),
    ),
    "no check of requests": (
        "alter role authenticator reset pgrst.db_pre_request; notify pgrst, 'reload config'; select pg_sleep(1)",
        "alter role authenticator set pgrst.db_pre_request = 'app.check_request'; notify pgrst, 'reload config'; select pg_sleep(1)",
        ("count the others' rows by the planner", "use the token of a deactivated user"),
    ),
    "everybody is the system": (
        "create or replace function app.only_system() returns void language plpgsql as $$ begin end $$",
        "create or replace function app.only_system() returns void language plpgsql stable security definer set search_path = '' as $$\n"
        "begin\n  if app.role() is distinct from 'system' then\n"
        "    raise sqlstate '42501' using message = 'only Interlock itself does this';\n  end if;\nend $$",
        ("put an image of a row", "read the trail that waits"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOSENED)
def test_the_suite_sees_it(name: str, world: World, local_stack: Stack) -> None:
    loosen, mend, attacks = LOOSENED[name]

    def run(sql: str) -> None:
        subprocess.run(["psql", local_stack.database_url, "-qXc", sql], check=True, capture_output=True)

    blind = []
    run(loosen)
    try:
        for attack in attacks:
            try:
                ATTACKS[attack].strike(world)
            except AssertionError:
                continue
            blind.append(attack)
    finally:
        run(mend)
    assert blind == [], "these attacks pass although the door is open"
