"""Accounts at Supabase: who gets one, what their links do, and what each refusal becomes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from types import MappingProxyType
from typing import Any

import httpx
import jwt
import pytest
from tests.supabase.auth.conftest import PASSWORD, Enrol, Links, invite

from interlock.backends.supabase import SupabaseAccounts, SupabaseBackend
from interlock.backends.supabase.auth_errors import mapped
from interlock.contract import Identity, Request
from interlock.errors import (
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from interlock.identifiers import new_id
from interlock.testing.harness import new_identity

pytestmark = pytest.mark.anyio


async def changed(backend: SupabaseBackend, who: Identity, **patch: Any) -> None:
    admin = Identity(new_id(), who.tenant_id, "admin")
    request = Request(
        "update", "users", admin, ids=(who.user_id,), patch=MappingProxyType(patch), operation_id=new_id()
    )
    (outcome,) = (await backend.handle(request)).outcomes
    assert outcome.ok, outcome.error


async def test_who_was_invited_signs_up_and_is_that_user(
    backend: SupabaseBackend, accounts: SupabaseAccounts, links: Links
) -> None:
    who = new_identity("agent")
    await invite(backend, who)
    await accounts.sign_up(who.email, PASSWORD, "Anna", who.tenant_id)
    with pytest.raises(Unauthenticated):
        await accounts.login(who.email, PASSWORD)
    (token,) = links(who.email)
    assert (await accounts.redeem_magic_link(token)).identity == who
    with pytest.raises(Unauthenticated):
        await accounts.redeem_magic_link(token)
    assert (await accounts.login(who.email, PASSWORD)).identity == who


async def test_who_was_not_invited_gets_no_account_and_no_mail(
    backend: SupabaseBackend, accounts: SupabaseAccounts, links: Links
) -> None:
    who, elsewhere = new_identity(), new_identity()
    await invite(backend, elsewhere)
    await accounts.sign_up(who.email, PASSWORD, "Mallory", elsewhere.tenant_id)
    await accounts.sign_up(elsewhere.email, PASSWORD, "Mallory", who.tenant_id)
    await accounts.request_magic_link(who.email)
    await accounts.request_password_reset(who.email)
    assert not links(who.email)
    assert not links(elsewhere.email)


async def test_a_sign_up_past_interlock_joins_no_tenant(
    stack: Any, accounts: SupabaseAccounts, backend: SupabaseBackend, links: Links
) -> None:
    invited, stranger = new_identity(), new_identity()
    await invite(backend, invited)
    metadata = {"tenant_id": invited.tenant_id, "role": "admin", "app_metadata": {"tenant_id": invited.tenant_id}}
    async with httpx.AsyncClient(headers={"apikey": stack.anon_key}) as client:
        answer = await client.post(
            f"{stack.url}/auth/v1/signup",
            json={"email": stranger.email, "password": PASSWORD, "data": metadata, "app_metadata": metadata},
        )
    assert answer.status_code == 200, answer.text
    with pytest.raises(Unauthenticated, match="no user, tenant or role"):
        await accounts.redeem_magic_link(links(stranger.email)[0])
    with pytest.raises(Unauthenticated, match="no user, tenant or role"):
        await accounts.login(stranger.email, PASSWORD)


@pytest.mark.clock
async def test_an_invitation_s_link_makes_the_account(
    backend: SupabaseBackend, accounts: SupabaseAccounts, links: Links
) -> None:
    who = new_identity("viewer")
    await invite(backend, who)
    await accounts.request_magic_link(who.email.upper())
    assert (await accounts.redeem_magic_link(links(who.email)[-1])).identity == who


async def test_without_the_service_key_links_go_to_accounts_alone(
    stack: Any, backend: SupabaseBackend, enrol: Enrol, links: Links
) -> None:
    who, invited = await enrol(), new_identity()
    await invite(backend, invited)
    keyless = SupabaseAccounts(stack.url, stack.anon_key)
    try:
        await keyless.request_magic_link(who.email)
        await keyless.request_magic_link(invited.email)
        with pytest.raises(Unsupported):
            await keyless.add_account(invited, PASSWORD)
    finally:
        await keyless.aclose()
    assert links(who.email)
    assert not links(invited.email)


async def test_an_address_with_signs_of_its_own_is_looked_for_as_it_stands(
    backend: SupabaseBackend, accounts: SupabaseAccounts, links: Links
) -> None:
    tenant = new_id()
    plain, odd = (Identity(new_id(), tenant, "agent", f"{start}{tenant}@example.test") for start in ("a-b", "a_%*b"))
    await invite(backend, plain)
    await accounts.request_magic_link(odd.email)
    assert not links(odd.email)
    await accounts.request_magic_link(plain.email)
    assert links(plain.email)


@pytest.mark.clock
async def test_a_reset_ends_every_session_and_the_old_password(
    accounts: SupabaseAccounts, enrol: Enrol, links: Links
) -> None:
    login = await enrol()
    before = await accounts.login(login.email, login.password)
    await accounts.request_password_reset(login.email)
    token = links(login.email)[-1]
    with pytest.raises(Invalid, match="password"):
        await accounts.reset_password(token, "short")
    await accounts.reset_password(token, "another long password")
    with pytest.raises(Unauthenticated):
        await accounts.reset_password(token, "a third long password")
    with pytest.raises(Unauthenticated):
        await accounts.login(login.email, login.password)
    with pytest.raises(Unauthenticated):
        await accounts.refresh(before.refresh_token)
    assert (await accounts.login(login.email, "another long password")).identity == login.identity


async def test_the_link_of_a_reset_is_no_log_in(accounts: SupabaseAccounts, enrol: Enrol, links: Links) -> None:
    login = await enrol()
    await accounts.request_magic_link(login.email)
    await accounts.request_password_reset(login.email)
    first, _ = links(login.email)
    with pytest.raises(Unauthenticated):
        await accounts.redeem_magic_link(first)  # the reset's link took its place


@pytest.mark.clock
async def test_refresh_tokens_rotate_and_an_old_one_ends_the_log_in(accounts: SupabaseAccounts, enrol: Enrol) -> None:
    login = await enrol()
    first = await accounts.login(login.email, login.password)
    second = await accounts.refresh(first.refresh_token)
    assert (await accounts.refresh(first.refresh_token)).refresh_token == second.refresh_token
    third = await accounts.refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    with pytest.raises(Unauthenticated):
        await accounts.refresh(first.refresh_token)


async def test_a_log_out_needs_no_access_token(accounts: SupabaseAccounts, enrol: Enrol) -> None:
    """The gateway has the refresh token alone, and an access token may have run out."""
    import msgspec

    login = await enrol()
    for access in ("", "not.a.token"):
        session = await accounts.login(login.email, login.password)
        await accounts.logout(msgspec.structs.replace(session, access_token=access))
        with pytest.raises(Unauthenticated):
            await accounts.refresh(session.refresh_token)
        await accounts.logout(session)


async def test_who_was_let_go_logs_in_no_more_and_who_came_back_does(
    backend: SupabaseBackend, accounts: SupabaseAccounts, enrol: Enrol
) -> None:
    login = await enrol("agent")
    session = await accounts.login(login.email, login.password)
    await changed(backend, login.identity, active=False)
    with pytest.raises(Unauthenticated):
        await accounts.login(login.email, login.password)
    with pytest.raises(Unauthenticated):
        await accounts.refresh(session.refresh_token)
    await changed(backend, login.identity, active=True)
    assert (await accounts.login(login.email, login.password)).identity == login.identity


async def test_a_new_role_is_in_the_next_session(
    backend: SupabaseBackend, accounts: SupabaseAccounts, enrol: Enrol
) -> None:
    login = await enrol("agent")
    session = await accounts.login(login.email, login.password)
    await changed(backend, login.identity, role="viewer")
    assert (await accounts.refresh(session.refresh_token)).identity.role == "viewer"


async def test_sessions_of_many_users_at_once_are_their_own(accounts: SupabaseAccounts, enrol: Enrol) -> None:
    logins = [await enrol() for _ in range(5)]
    sessions = await asyncio.gather(*(accounts.login(each.email, each.password) for each in logins * 4))
    assert [session.identity for session in sessions] == [each.identity for each in logins * 4]
    again = await asyncio.gather(*(accounts.refresh(session.refresh_token) for session in sessions))
    assert [session.identity for session in again] == [each.identity for each in logins * 4]


async def test_nothing_goes_on_behind_a_log_in(accounts: SupabaseAccounts, enrol: Enrol) -> None:
    login = await enrol()
    before = asyncio.all_tasks()
    session = await accounts.login(login.email, login.password)
    await accounts.refresh(session.refresh_token)
    assert asyncio.all_tasks() == before


async def test_a_provider_that_is_off_is_unsupported_and_a_bad_code_is_refused(accounts: SupabaseAccounts) -> None:
    with pytest.raises(Unsupported, match="github"):
        await accounts.start_oauth("github", "http://127.0.0.1:8000/back")
    with pytest.raises(Invalid, match="redirect_to"):
        await accounts.start_oauth("github", "javascript:alert(1)")
    with pytest.raises((Unauthenticated, Invalid)):
        await accounts.finish_oauth("no-such-code", "v" * 43)


async def test_a_stopped_project_is_unavailable(accounts: SupabaseAccounts) -> None:
    nobody = SupabaseAccounts("http://127.0.0.1:9", "key", service_key="key")
    calls = (
        nobody.login("a@b.test", PASSWORD),
        nobody.refresh("token"),
        nobody.sign_up("a@b.test", PASSWORD, "A", "t"),
        nobody.request_magic_link("a@b.test"),
        nobody.redeem_magic_link("token"),
        nobody.request_password_reset("a@b.test"),
        nobody.reset_password("token", PASSWORD),
        nobody.start_oauth("github", "http://x"),
        nobody.finish_oauth("code", "verifier"),
        nobody.public_keys(),
        nobody.add_account(new_identity(), PASSWORD),
    )
    try:
        for call in calls:
            with pytest.raises(Unavailable):
                await call
    finally:
        await nobody.aclose()
        await nobody.aclose()


async def test_a_wrong_key_names_its_variable(stack: Any) -> None:
    wrong = SupabaseAccounts(stack.url, jwt.encode({"role": "anon"}, "x" * 40, algorithm="HS256"))
    try:
        with pytest.raises(Misconfigured, match="INTERLOCK_SUPABASE_ANON_KEY"):
            await wrong.login("a@b.test", PASSWORD)
    finally:
        await wrong.aclose()


def answer(status: int, body: Any, headers: dict[str, str] | None = None) -> httpx.MockTransport:
    def reply(request: httpx.Request) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.Response(status, headers=headers, **content)

    return httpx.MockTransport(reply)


def coded(status: int, code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    return status, {"code": status, "error_code": code, "msg": "a message with a@b.test in it", **more}


REFUSALS: dict[str, tuple[tuple[int, Any], type[InterlockError]]] = {
    "invalid_credentials": (coded(400, "invalid_credentials"), Unauthenticated),
    "email_not_confirmed": (coded(400, "email_not_confirmed"), Unauthenticated),
    "user_banned": (coded(403, "user_banned"), Unauthenticated),
    "user_not_found": (coded(404, "user_not_found"), Unauthenticated),
    "session_not_found": (coded(403, "session_not_found"), Unauthenticated),
    "refresh_token_not_found": (coded(400, "refresh_token_not_found"), Unauthenticated),
    "refresh_token_already_used": (coded(400, "refresh_token_already_used"), Unauthenticated),
    "bad_jwt": (coded(403, "bad_jwt"), Unauthenticated),
    "otp_expired": (coded(403, "otp_expired"), Unauthenticated),
    "bad_code_verifier": (coded(400, "bad_code_verifier"), Unauthenticated),
    "flow_state_not_found": (coded(404, "flow_state_not_found"), Unauthenticated),
    "weak_password": (coded(422, "weak_password", weak_password={"reasons": ["pwned"]}), Invalid),
    "same_password": (coded(422, "same_password"), Invalid),
    "validation_failed": (coded(422, "validation_failed"), Invalid),
    "bad_json": (coded(400, "bad_json"), Invalid),
    "email_address_invalid": (coded(400, "email_address_invalid"), Invalid),
    "email_exists": (coded(422, "email_exists"), Duplicate),
    "user_already_exists": (coded(422, "user_already_exists"), Duplicate),
    "signup_disabled": (coded(422, "signup_disabled"), Unsupported),
    "email_provider_disabled": (coded(422, "email_provider_disabled"), Unsupported),
    "captcha_failed": (coded(400, "captcha_failed"), Unsupported),
    "not_admin": (coded(403, "not_admin"), Forbidden),
    "over_request_rate_limit": (coded(429, "over_request_rate_limit"), RateLimited),
    "over_email_send_rate_limit": (coded(429, "over_email_send_rate_limit"), RateLimited),
    "hook_timeout": (coded(422, "hook_timeout"), Unavailable),
    "unexpected_failure": (coded(500, "unexpected_failure"), Unavailable),
    "a code that nobody knows": (coded(418, "teapot"), Unavailable),
    "bad gateway": ((502, b"<html>bad gateway</html>"), Unavailable),
    "not JSON": ((200, b"<html>hello</html>"), Unavailable),
    "not JSON, refused": ((400, b"no"), Unavailable),
    "no session in it": ((200, {"hello": 1}), Unavailable),
    "a list": ((200, []), Unavailable),
    "null": ((400, None), InterlockError),
    "an unknown address": ((404, {"message": "no Route matched with those values"}), Misconfigured),
    "an unknown key": ((401, {"message": "Invalid API key"}), Misconfigured),
}


@pytest.mark.parametrize("kind", REFUSALS)
async def test_each_refusal_is_one_of_our_errors_and_says_nothing_of_anybody(kind: str) -> None:
    (status, body), wanted = REFUSALS[kind]
    accounts = SupabaseAccounts("http://project.test", "key")
    accounts._http = httpx.AsyncClient(transport=answer(status, body))
    with pytest.raises(wanted) as caught, mapped():
        await accounts._client().sign_in_with_password({"email": "a@b.test", "password": PASSWORD})
    assert "a@b.test" not in caught.value.message
    assert caught.value.__cause__ is not None
    await accounts.aclose()


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({"retry-after": "7"}, "slow down", 7.0),
        ({}, "you can only request this after 42 seconds.", 42.0),
        ({}, "no", 1.0),
    ],
)
async def test_too_many_calls_say_when_to_come_again(headers: dict[str, str], message: str, seconds: float) -> None:
    body = {"code": 429, "error_code": "over_request_rate_limit", "msg": message}
    accounts = SupabaseAccounts("http://project.test", "key")
    accounts._http = httpx.AsyncClient(transport=answer(429, body, headers))
    with pytest.raises(RateLimited) as caught:
        await accounts.login("a@b.test", PASSWORD)
    assert caught.value.retry_after == seconds
    await accounts.aclose()


async def test_what_was_asked_of_nobody_tells_too_many_calls(accounts: SupabaseAccounts) -> None:
    """A limit holds for known and unknown addresses alike, so it may be told."""
    limited = SupabaseAccounts("http://project.test", "key")
    limited._http = httpx.AsyncClient(transport=answer(*coded(429, "over_email_send_rate_limit")))
    with pytest.raises(RateLimited):
        await limited.request_magic_link("a@b.test")
    await limited.aclose()


def test_keys_are_in_no_repr() -> None:
    assert "hush" not in repr(SupabaseAccounts("http://x", "hush-anon", service_key="hush-service"))


async def test_oauth_proves_with_pkce_that_who_finishes_is_who_began() -> None:
    """Against answers as GoTrue gives them: the local stack has no provider to go to."""
    now = int(time.time())
    metadata = {"tenant_id": new_id(), "role": "agent", "user_id": new_id()}
    token = jwt.encode(
        {"sub": str(uuid.uuid4()), "exp": now + 60, "app_metadata": metadata}, "s" * 40, algorithm="HS256"
    )
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if request.url.path.endswith("/settings"):
            return httpx.Response(200, json={"external": {"github": True, "google": False}})
        if request.url.path.endswith("/users"):
            return httpx.Response(200, json=[])
        user = {
            "id": str(uuid.uuid4()),
            "aud": "authenticated",
            "app_metadata": metadata,
            "user_metadata": {},
            "created_at": "2026-01-01T00:00:00Z",
        }
        granted = {"access_token": token, "refresh_token": "r", "token_type": "bearer", "expires_in": 60, "user": user}
        return httpx.Response(200, json=granted)

    accounts = SupabaseAccounts("http://project.test", "key")
    accounts._http = httpx.AsyncClient(transport=httpx.MockTransport(reply))
    begun, other = [await accounts.start_oauth("github", "https://app.test/back") for _ in range(2)]
    sent = httpx.URL(begun.url).params
    digest = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode()
    assert (sent["provider"], sent["redirect_to"]) == ("github", "https://app.test/back")
    assert (sent["code_challenge"], sent["code_challenge_method"].lower()) == (digest, "s256")
    assert begun.verifier != other.verifier
    assert begun.verifier not in repr(begun) + begun.url
    session = await accounts.finish_oauth("code", begun.verifier)
    assert session.identity.user_id == metadata["user_id"]
    (exchange,) = [request for request in asked if request.url.path.endswith("/token")]
    assert exchange.url.params["grant_type"] == "pkce"
    assert json.loads(exchange.content) == {"auth_code": "code", "code_verifier": begun.verifier}
    with pytest.raises(Unsupported):
        await accounts.start_oauth("google", "https://app.test/back")
    await accounts.aclose()
