"""The pretended provider: what PKCE promises is held."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from interlock.abilities import OAuth, Session
from interlock.backends.memory.oauth import PretendedProvider
from interlock.contract import Identity
from interlock.errors import Invalid, Unauthenticated, Unsupported

pytestmark = [pytest.mark.anyio, pytest.mark.clock]

BACK = "https://app.example/back?tab=1"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> PretendedProvider:
    async def open_session(email: str) -> Session:
        return Session(Identity("u", "t", "agent", email), "access", "refresh", clock.now)

    return PretendedProvider(open_session, clock=clock)


async def code_of(provider: PretendedProvider) -> tuple[str, str]:
    start = await provider.start_oauth("mock", BACK)
    back = urlsplit(provider.consent(start.url, "agent@acme.test"))
    assert (back.netloc, back.path) == ("app.example", "/back")
    query = parse_qs(back.query)
    assert query["tab"] == ["1"]
    return query["code"][0], start.verifier


async def test_a_code_and_its_verifier_log_in_once(provider: PretendedProvider) -> None:
    assert isinstance(provider, OAuth)
    code, verifier = await code_of(provider)
    assert (await provider.finish_oauth(code, verifier)).identity.email == "agent@acme.test"
    with pytest.raises(Unauthenticated):
        await provider.finish_oauth(code, verifier)


async def test_the_challenge_is_the_verifier_s_hash_and_the_verifier_is_not_sent(provider: PretendedProvider) -> None:
    start = await provider.start_oauth("mock", BACK)
    query = parse_qs(urlsplit(start.url).query)
    digest = hashlib.sha256(start.verifier.encode()).digest()
    assert query["code_challenge"] == [base64.urlsafe_b64encode(digest).decode().rstrip("=")]
    assert start.verifier not in start.url
    assert start.verifier not in repr(start)


async def test_a_stolen_code_is_worth_nothing_and_is_used_up(provider: PretendedProvider) -> None:
    code, verifier = await code_of(provider)
    _, another = await code_of(provider)
    for wrong in (another, verifier):
        with pytest.raises(Unauthenticated):
            await provider.finish_oauth(code, wrong)


@pytest.mark.parametrize("verifier", ["", "short", "ä" * 50, "a" * 129, "\ud800" * 43])
async def test_a_verifier_that_cannot_be_one_is_refused(provider: PretendedProvider, verifier: str) -> None:
    code, _ = await code_of(provider)
    with pytest.raises(Unauthenticated):
        await provider.finish_oauth(code, verifier)


async def test_a_code_expires(provider: PretendedProvider, clock: Clock) -> None:
    code, verifier = await code_of(provider)
    clock.now += timedelta(seconds=61)
    with pytest.raises(Unauthenticated):
        await provider.finish_oauth(code, verifier)


async def test_a_plain_challenge_is_refused(provider: PretendedProvider) -> None:
    start = await provider.start_oauth("mock", BACK)
    for url in (start.url.replace("S256", "plain"), "https://elsewhere.example/?code_challenge_method=S256"):
        with pytest.raises(Invalid, match="S256"):
            provider.consent(url, "agent@acme.test")


async def test_another_provider_is_unsupported_and_a_bad_way_back_invalid(provider: PretendedProvider) -> None:
    with pytest.raises(Unsupported):
        await provider.start_oauth("google", BACK)
    for wrong in ("javascript:alert(1)", "/back", "https://a.example/#x", "https://[::1"):
        with pytest.raises(Invalid, match="redirect_to"):
            await provider.start_oauth("mock", wrong)
