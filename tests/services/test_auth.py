"""Auth: the log-in that the sibling services act by, refreshed once, and forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from interlock.abilities import OAuth, OAuthStart, Session
from interlock.errors import Invalid, Unauthenticated, Unsupported
from interlock.services import Services

from .harness import World

pytestmark = [pytest.mark.anyio, pytest.mark.clock]


class Accounts:
    """Logs anybody in as the agent, for ten minutes; a refresh token is good once."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: list[tuple[Any, ...]] = []
        self.good: set[str] = set()

    def _session(self) -> Session:
        token = f"token-{len(self.calls)}"
        self.good = {token}
        return Session(self.world.identities["agent"], token, token, self.world.clock.now + timedelta(minutes=10))

    async def login(self, email: str, password: str) -> Session:
        self.calls.append(("login", email))
        if password != "interlock-demo":
            raise Unauthenticated("wrong e-mail address or password")
        return self._session()

    async def refresh(self, refresh_token: str) -> Session:
        self.calls.append(("refresh", refresh_token))
        await asyncio.sleep(0)
        if refresh_token not in self.good:
            raise Unauthenticated("used before")
        return self._session()

    async def logout(self, session: Session) -> None:
        self.calls.append(("logout", session.refresh_token))

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        self.calls.append(("sign_up", email, display_name, tenant_id))

    async def request_magic_link(self, email: str) -> None:
        self.calls.append(("request_magic_link", email))

    async def redeem_magic_link(self, token: str) -> Session:
        self.calls.append(("redeem_magic_link", token))
        return self._session()

    async def request_password_reset(self, email: str) -> None:
        self.calls.append(("request_password_reset", email))

    async def reset_password(self, token: str, password: str) -> None:
        self.calls.append(("reset_password", token))


@pytest.fixture
def accounts(memory: World) -> Accounts:
    accounts = Accounts(memory)
    memory.authenticate_by(accounts)
    return accounts


@pytest.fixture
def anybody(memory: World, accounts: Accounts) -> Services:
    return Services(memory.wiring)


async def test_a_log_in_makes_the_siblings_act_as_the_user(memory: World, anybody: Services) -> None:
    assert not anybody.auth.is_authenticated
    for call in (anybody.customers.list(), anybody.auth.current_user(), anybody.auth.token()):
        with pytest.raises(Unauthenticated):
            await call
    session = await anybody.auth.login("agent@acme.test", "interlock-demo")
    assert anybody.auth.is_authenticated
    assert await anybody.auth.current_user() == memory.users["agent"]
    assert await anybody.auth.token() == session.access_token
    created = await anybody.customers.create(company_name="A")
    assert created.created_by == memory.users["agent"].id


async def test_a_failed_log_in_changes_nothing(anybody: Services) -> None:
    await anybody.auth.login("agent@acme.test", "interlock-demo")
    with pytest.raises(Unauthenticated):
        await anybody.auth.login("agent@acme.test", "guess")
    assert anybody.auth.is_authenticated


async def test_log_out_forgets(anybody: Services, accounts: Accounts) -> None:
    session = await anybody.auth.login("agent@acme.test", "interlock-demo")
    await anybody.auth.logout()
    await anybody.auth.logout()
    assert accounts.calls[1:] == [("logout", session.refresh_token)]
    assert not anybody.auth.is_authenticated
    with pytest.raises(Unauthenticated):
        await anybody.customers.list()


async def test_an_old_token_is_refreshed_once(memory: World, anybody: Services, accounts: Accounts) -> None:
    first = await anybody.auth.login("agent@acme.test", "interlock-demo")
    memory.clock.advance(minutes=9, seconds=45)
    tokens = await asyncio.gather(*(anybody.auth.token() for _ in range(10)))
    assert len(set(tokens)) == 1
    assert tokens[0] != first.access_token
    assert accounts.calls.count(("refresh", first.refresh_token)) == 1
    assert (await anybody.auth.refresh()).access_token != tokens[0]
    with pytest.raises(Unauthenticated, match="used before"):
        await anybody.auth.refresh(first.refresh_token)


async def test_ways_back_in(anybody: Services, accounts: Accounts) -> None:
    await anybody.auth.sign_up("n@acme.test", "long enough password", "N", "acme")
    await anybody.auth.request_magic_link("n@acme.test")
    await anybody.auth.request_password_reset("n@acme.test")
    await anybody.auth.reset_password("reset-token", "another password")
    assert not anybody.auth.is_authenticated
    await anybody.auth.redeem_magic_link("link-token")
    assert anybody.auth.is_authenticated
    assert [call[0] for call in accounts.calls] == [
        "sign_up",
        "request_magic_link",
        "request_password_reset",
        "reset_password",
        "redeem_magic_link",
    ]


async def test_oauth(memory: World, anybody: Services, accounts: Accounts) -> None:
    with pytest.raises(Unsupported, match="OAuth"):
        await anybody.auth.start_oauth("github", "https://app.test/back")

    class Provider:
        async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
            return OAuthStart(f"https://{provider}.test/?to={redirect_to}", "verifier")

        async def finish_oauth(self, code: str, verifier: str) -> Session:
            assert (code, verifier) == ("code", "verifier")
            return await accounts.redeem_magic_link("oauth")

    memory.serve(memory.backend, "test", "auth", abilities={OAuth: Provider()})
    start = await anybody.auth.start_oauth("github", "https://app.test/back")
    session = await anybody.auth.finish_oauth("code", start.verifier)
    assert session.identity == memory.identities["agent"]


@pytest.mark.parametrize("bad", ["", "a\x00b", "\ud800", "x" * 10_000_000])
async def test_bad_input_is_named_and_never_repeated(anybody: Services, accounts: Accounts, bad: str) -> None:
    for call in (
        anybody.auth.login("a@b.c", bad),
        anybody.auth.reset_password("token", bad),
        anybody.auth.sign_up("a@b.c", bad, "N", "acme"),
    ):
        with pytest.raises(Invalid) as caught:
            await call
        assert set(caught.value.fields) == {"password"}
        assert not bad or bad not in str(caught.value)
    assert accounts.calls == []


async def test_a_backend_without_log_in_says_so(memory: World) -> None:
    with pytest.raises(Unsupported, match="Authenticates"):
        await Services(memory.wiring).auth.login("a@b.c", "secret")
