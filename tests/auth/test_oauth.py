"""Log-in through another provider, from the services down: pretended on the mock, unsupported where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from interlock.abilities import OAuth
from interlock.app import App
from interlock.backends.memory.oauth import PretendedProvider
from interlock.errors import Unauthenticated, Unsupported
from interlock.settings import Settings

pytestmark = pytest.mark.anyio

BACK = "https://app.example/back"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    app = await App.open(Settings(home=tmp_path, seed_size=0, environment="test"))
    try:
        yield app
    finally:
        await app.aclose()


def consented(app: App, url: str, email: str) -> str:
    """The code that the provider sends back."""
    provider = app.router.route("auth").ability(OAuth)
    assert isinstance(provider, PretendedProvider)
    return parse_qs(urlsplit(provider.consent(url, email)).query)["code"][0]


async def test_a_code_and_its_verifier_log_in_once(app: App) -> None:
    crm = app.services()
    start = await crm.auth.start_oauth("mock", BACK)
    code = consented(app, start.url, "agent@acme.test")
    session = await crm.auth.finish_oauth(code, start.verifier)
    assert (session.identity.role, crm.identity) == ("agent", session.identity)
    with pytest.raises(Unauthenticated):
        await app.services().auth.finish_oauth(code, start.verifier)


async def test_a_code_without_its_own_verifier_is_worth_nothing(app: App) -> None:
    crm = app.services()
    start, other = [await crm.auth.start_oauth("mock", BACK) for _ in range(2)]
    with pytest.raises(Unauthenticated):
        await crm.auth.finish_oauth(consented(app, start.url, "agent@acme.test"), other.verifier)
    assert not crm.auth.is_authenticated


async def test_an_address_that_nobody_has_logs_nobody_in(app: App) -> None:
    crm = app.services()
    start = await crm.auth.start_oauth("mock", BACK)
    with pytest.raises(Unauthenticated):
        await crm.auth.finish_oauth(consented(app, start.url, "stranger@acme.test"), start.verifier)


async def test_a_backend_without_a_provider_says_so(app: App) -> None:
    await app.switch("auth", "sql")
    with pytest.raises(Unsupported, match="OAuth"):
        await app.services().auth.start_oauth("mock", BACK)
