"""Log-in and the ways back in. Whoever tries too often, from one address or at one account, has to wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from interlock.abilities import Authenticates, Session
from interlock.gateway.bodies import object_of
from interlock.gateway.calls import Call
from interlock.gateway.problems import Refused
from interlock.gateway.replies import Reply, json_reply

__all__ = ["current", "login", "logout", "magic_link", "redeem", "refresh", "request_reset", "reset", "sign_up"]

_NO_STORE = (b"cache-control", b"no-store")


async def _given(call: Call, *names: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """The members of the body, all texts."""
    call.no_query()
    call.edge.log_ins.take(f"address {call.address}")
    body = object_of(await call.json(), dict.fromkeys((*names, *optional), str))
    missing = {name: "is required" for name in names if not body.get(name)}
    if missing:
        raise Refused(missing)
    email = body.get("email")
    if email is not None:
        call.edge.log_ins.take(f"account {email.lower()[:254]}")
    return body


def _logged_in(call: Call, session: Session) -> Reply:
    identity = session.identity
    left = (session.expires_at - datetime.now(UTC)).total_seconds()
    return json_reply(
        {
            "accessToken": session.access_token,
            "refreshToken": session.refresh_token,
            "expiresIn": max(0, round(left)),
            "tokenType": "Bearer",
            "user": {
                "id": identity.user_id,
                "tenantId": identity.tenant_id,
                "role": identity.role,
                "email": identity.email,
            },
        },
        headers=[_NO_STORE],
    )


async def login(call: Call) -> Reply:
    """POST e-mail and password: tokens."""
    body = await _given(call, "email", "password")
    session = await call.edge.app.services().auth.login(body["email"], body["password"])
    return _logged_in(call, session)


async def refresh(call: Call) -> Reply:
    """POST the refresh token: new tokens, and the old refresh token is spent."""
    body = await _given(call, "refreshToken")
    return _logged_in(call, await call.edge.app.services().auth.refresh(body["refreshToken"]))


async def logout(call: Call) -> Reply:
    """POST the refresh token: it is worth nothing from now on. The access token runs out by itself."""
    identity = call.identity
    body = await _given(call, "refreshToken")
    session = Session(identity, "", body["refreshToken"], datetime.now(UTC))
    await call.edge.app.router.route("auth").ability(Authenticates).logout(session)
    return json_reply({}, headers=[_NO_STORE])


async def sign_up(call: Call) -> Reply:
    """POST an address, a password, a name and a tenant. The answer is the same whether or not the address has an account."""
    body = await _given(call, "email", "password", "displayName", "tenantId")
    await call.edge.app.services().auth.sign_up(body["email"], body["password"], body["displayName"], body["tenantId"])
    return json_reply({}, 202, [_NO_STORE])


async def magic_link(call: Call) -> Reply:
    """POST an address: a link is sent where it has an account; the answer is the same."""
    body = await _given(call, "email")
    await call.edge.app.services().auth.request_magic_link(body["email"])
    return json_reply({}, 202, [_NO_STORE])


async def redeem(call: Call) -> Reply:
    """POST the token of a link: tokens, once."""
    body = await _given(call, "token")
    return _logged_in(call, await call.edge.app.services().auth.redeem_magic_link(body["token"]))


async def request_reset(call: Call) -> Reply:
    """POST an address: a link is sent where it has an account; the answer is the same."""
    body = await _given(call, "email")
    await call.edge.app.services().auth.request_password_reset(body["email"])
    return json_reply({}, 202, [_NO_STORE])


async def reset(call: Call) -> Reply:
    """POST the token of a link and a new password, once."""
    body = await _given(call, "token", "password")
    await call.edge.app.services().auth.reset_password(body["token"], body["password"])
    return json_reply({}, headers=[_NO_STORE])


async def current(call: Call) -> Reply:
    """GET the record of who is logged in."""
    call.no_query()
    return json_reply(await call.services.auth.current_user(), headers=[_NO_STORE])
