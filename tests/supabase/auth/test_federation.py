"""One log-in, wherever it was made, works at every backend of the session: memory, SQLite, a real API over HTTP, and Supabase."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.supabase.auth.conftest import Enrol, Links

from interlock.abilities import Authenticates
from interlock.app import App
from interlock.backends.supabase import SupabaseAccounts
from interlock.contract import Identity
from interlock.embedded import seed_database, seed_supabase
from interlock.errors import Forbidden, InterlockError, Unauthenticated
from interlock.gateway.application import create_app
from interlock.gateway.server import serving
from interlock.identifiers import new_id
from interlock.ports import free_port
from interlock.seed import DEMO_PASSWORD, DEMO_USERS
from interlock.services import Services
from interlock.settings import LocalSupabase, Settings

pytestmark = pytest.mark.anyio

BACKENDS = ("mock", "sql", "real", "supabase")
SPREAD = {"customers": "mock", "tickets": "real", "contracts": "sql", "sales": "supabase", "users": "supabase"}


def local(stack: Any) -> LocalSupabase:
    return LocalSupabase(1, stack.url, stack.anon_key, stack.service_key, stack.jwt_secret)


@pytest.fixture
async def settings(stack: Any, tmp_path: Path) -> AsyncIterator[Settings]:
    """A home with a SQLite database, and a real API over it on a port of its own; demo users everywhere."""
    port = free_port()
    made = Settings(home=tmp_path, seed_size=0, api_base_url=f"http://127.0.0.1:{port}/api/v1").at_local_supabase(
        local(stack)
    )
    await seed_database(made)
    await seed_supabase(made)
    await make_stages(made)
    api = await App.open(made.model_copy(update={"api_mode": "sql"}))
    try:
        async with serving(create_app(api), "127.0.0.1", port):
            yield made
    finally:
        await api.aclose()


async def make_stages(settings: Settings) -> None:
    app = await App.open(settings.model_copy(update={"api_mode": "supabase"}))
    try:
        crm = app.services(DEMO_USERS[0])
        if not await crm.sales.stages():
            await crm.sales.create_default_stages()
    finally:
        await app.aclose()


async def opened(settings: Settings, auth: str, **backends: str) -> App:
    return await App.open(settings.model_copy(update={"backends": {**SPREAD, "auth": auth, **backends}}))


async def everywhere(crm: Services) -> None:
    """A record made and read at each of the four, by the same caller."""
    mark = new_id()
    customer = await crm.customers.create(company_name=f"Nordwind {mark}")
    ticket = await crm.tickets.create(subject=f"Storm {mark}")  # a real API looks for customers at its own backend
    contract = await crm.contracts.create(title=f"Wind {mark}", customer_id=customer.id)
    stage = (await crm.sales.stages())[0]
    deal = await crm.sales.create(title=f"Sail {mark}", customer_id=customer.id, stage_id=stage.id)
    assert {row.created_by for row in (customer, ticket, contract, deal)} == {crm.identity.user_id}
    assert (await crm.tickets.get(ticket.id)).subject == ticket.subject
    assert (await crm.sales.get(deal.id)).customer_id == customer.id
    assert (await crm.auth.current_user()).email == crm.identity.email


@pytest.mark.parametrize("auth", BACKENDS)
async def test_a_log_in_at_one_works_at_all(settings: Settings, auth: str) -> None:
    app = await opened(settings, auth)
    try:
        crm = app.services()
        await crm.auth.login("agent@acme.test", DEMO_PASSWORD)
        await everywhere(crm)
        await crm.auth.refresh()
        await everywhere(crm)
    finally:
        await app.aclose()


@pytest.mark.parametrize("auth", BACKENDS)
async def test_roles_hold_at_every_backend(settings: Settings, auth: str) -> None:
    app = await opened(settings, auth)
    try:
        crm = app.services()
        await crm.auth.login("viewer@acme.test", DEMO_PASSWORD)
        stage = (await crm.sales.stages())[0]
        for attempt in (
            crm.customers.create(company_name="Nobody"),
            crm.tickets.create(subject="Nothing"),
            crm.contracts.create(title="Nothing", customer_id=new_id()),
            crm.sales.create(title="Nothing", customer_id=new_id(), stage_id=stage.id),
        ):
            with pytest.raises(Forbidden):
                await attempt
        await crm.customers.list(limit=1)
    finally:
        await app.aclose()


@pytest.mark.parametrize("auth", BACKENDS)
async def test_another_tenant_s_user_finds_nothing(settings: Settings, auth: str) -> None:
    app = await opened(settings, auth)
    try:
        ours, theirs = app.services(), app.services()
        await ours.auth.login("agent@acme.test", DEMO_PASSWORD)
        await theirs.auth.login("admin@globex.test", DEMO_PASSWORD)
        stage = (await ours.sales.stages())[0]
        customer = await ours.customers.create(company_name=f"Ours {new_id()}")
        deal = await ours.sales.create(title="Ours", customer_id=customer.id, stage_id=stage.id)
        ticket = await ours.tickets.create(subject="Ours")
        assert not await theirs.sales.get_many((deal.id,))
        assert not await theirs.tickets.get_many((ticket.id,))
    finally:
        await app.aclose()


async def test_the_gateway_takes_a_project_s_token(settings: Settings) -> None:
    app = await opened(settings, "supabase")
    try:
        async with serving(create_app(app)) as base, httpx.AsyncClient(base_url=base) as client:
            answer = await client.post(
                "/api/v1/auth/login", json={"email": "agent@acme.test", "password": DEMO_PASSWORD}
            )
            token = answer.json()["accessToken"]
            for path in ("customers", "tickets", "contracts", "deals", "auth/me"):
                found = await client.get(f"/api/v1/{path}", headers={"authorization": f"Bearer {token}"})
                assert found.status_code == 200, (path, found.text)
            head, body, signature = token.split(".")
            flipped = signature[:-2] + ("AA" if signature[-2:] != "AA" else "BB")
            for bad in (f"{head}.{body}.{flipped}", f"{head}.{body}.", settings.supabase_anon_key.get_secret_value()):  # type: ignore[union-attr]  # at_local_supabase sets it
                refused = await client.get("/api/v1/customers", headers={"authorization": f"Bearer {bad}"})
                assert refused.status_code == 401
            out = await client.post(
                "/api/v1/auth/logout",
                json={"refreshToken": answer.json()["refreshToken"]},
                headers={"authorization": f"Bearer {token}"},
            )
            assert out.status_code == 200
            again = await client.post("/api/v1/auth/refresh", json={"refreshToken": answer.json()["refreshToken"]})
            assert again.status_code == 401
    finally:
        await app.aclose()


async def test_a_gateway_without_the_secret_takes_no_project_s_token(settings: Settings, tmp_path: Path) -> None:
    with_secret = await opened(settings, "supabase")
    without = await App.open(Settings(home=tmp_path / "other", seed_size=0))
    try:
        crm = with_secret.services()
        session = await crm.auth.login("agent@acme.test", DEMO_PASSWORD)
        assert with_secret.verifier.verify(session.access_token) == session.identity
        with pytest.raises(Unauthenticated):
            without.verifier.verify(session.access_token)
    finally:
        await with_secret.aclose()
        await without.aclose()


async def test_a_session_that_ran_out_is_renewed_by_itself(settings: Settings) -> None:
    app = await opened(settings, "supabase")
    try:
        crm = app.services()
        session = await crm.auth.login("agent@acme.test", DEMO_PASSWORD)
        crm.adopt(msgspec.structs.replace(session, expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        await crm.sales.stages()
        assert app.verifier.verify(await crm.auth.token()) == session.identity
        assert crm.session is not None
        assert crm.session.expires_at > datetime.now(UTC)
        assert crm.session.refresh_token != session.refresh_token
    finally:
        await app.aclose()


async def test_a_token_that_is_refused_is_renewed_by_itself(settings: Settings) -> None:
    app = await opened(settings, "supabase")
    try:
        crm = app.services()
        session = await crm.auth.login("agent@acme.test", DEMO_PASSWORD)
        crm.adopt(msgspec.structs.replace(session, access_token=session.access_token[:-6] + "AAAAAA"))
        assert await crm.sales.stages()
    finally:
        await app.aclose()


@pytest.mark.parametrize("auth", ["mock", "supabase"])
async def test_who_is_let_go_is_refused_at_once_and_who_is_given_a_role_has_it_at_once(
    settings: Settings, auth: str, enrol: Enrol
) -> None:
    """With the token still good: the database asks the membership."""
    boss = await enrol("admin")
    who = await enrol("agent", boss.identity.tenant_id)
    app = await opened(settings, auth)
    try:
        admin, crm = app.services(boss.identity), app.services(who.identity)
        if auth == "supabase":
            await crm.auth.login(who.email, who.password)
        await admin.sales.create_default_stages()
        stage = (await crm.sales.stages())[0]
        customer = await crm.customers.create(company_name="Nordwind")
        deal = await crm.sales.create(title="Sail", customer_id=customer.id, stage_id=stage.id)
        await admin.users.set_role(who.identity.user_id, "viewer")
        with pytest.raises(Forbidden):
            await crm.sales.update(deal.id, title="Sails")
        assert await crm.sales.get(deal.id)
        await admin.users.deactivate(who.identity.user_id)
        with pytest.raises(InterlockError) as caught:
            await crm.sales.get(deal.id)
        assert isinstance(caught.value, Unauthenticated)
        with pytest.raises(Unauthenticated):
            await crm.sales.update(deal.id, title="Sails")
    finally:
        await app.aclose()


async def test_whom_an_admin_invites_follows_the_link_and_is_that_user(
    settings: Settings, enrol: Enrol, links: Links
) -> None:
    boss = await enrol("admin")
    app = await opened(settings, "supabase")
    try:
        admin, crm = app.services(), app.services()
        await admin.auth.login(boss.email, boss.password)
        email = f"{new_id()}@example.test"
        user = await admin.users.invite(email, "Nora New", "manager")
        session = await crm.auth.redeem_magic_link(links(email)[-1])
        assert session.identity == Identity(user.id, boss.identity.tenant_id, "manager", email)
        assert (await crm.auth.current_user()).display_name == "Nora New"
        assert isinstance(app.router.route("auth").ability(Authenticates), SupabaseAccounts)
    finally:
        await app.aclose()
