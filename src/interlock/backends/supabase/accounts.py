"""Log-in by Supabase's auth, through the official client: passwords, links, sign-up, resets, and other sites by OAuth with PKCE.

Who a user is stands in the access token's `app_metadata` (tenant_id, role, user_id), which the database fills for an address that was
invited and whose owner has confirmed it. No log-in is kept here: each call makes a client of its own that remembers nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, cast

import httpx
import jwt
from supabase_auth import AsyncGoTrueAdminAPI, AsyncGoTrueClient, AsyncMemoryStorage
from supabase_auth.types import AuthFlowType, Provider
from supabase_auth.types import Session as Granted

from interlock.abilities import OAuthStart, Session
from interlock.backends.supabase.auth_errors import mapped
from interlock.contract import Identity
from interlock.entity import fold
from interlock.errors import Duplicate, Invalid, Unauthenticated, Unavailable, Unsupported
from interlock.log import get_logger
from interlock.tokens import identity_in

__all__ = ["SupabaseAccounts"]

MIN_PASSWORD: Final = 10
MAX_PASSWORD: Final = 72
"""Bytes: more of a password is not looked at by bcrypt, so Supabase takes no more."""

_ADDRESS: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")
# The rest of a pattern's special characters, `*`, is PostgREST's and has no escape: what it finds too much is left out afterwards.
_LITERAL: Final = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})
_log = get_logger("interlock")


class SupabaseAccounts:
    """`Authenticates`, `RecoversAccounts` and `OAuth` of a Supabase project.

    With the project's service key it knows who is invited: then links create the accounts of invited users, and nobody else's. Without
    it, links go only to those who have an account.
    """

    def __init__(self, url: str, anon_key: str, *, service_key: str | None = None, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._anon_key = anon_key
        self._service_key = service_key
        self._http = httpx.AsyncClient(timeout=timeout)

    def __repr__(self) -> str:
        return f"SupabaseAccounts(url={self._url!r})"

    async def aclose(self) -> None:
        """Release the connections. Closing twice does nothing more."""
        await self._http.aclose()

    # -- sessions -------------------------------------------------------------------------------------------------

    async def login(self, email: str, password: str) -> Session:
        """A session for an address and its password."""
        if not password or len(password.encode(errors="replace")) > MAX_PASSWORD or not _ADDRESS.fullmatch(email):
            raise Unauthenticated("the address or the password is wrong")
        with mapped():
            answer = await self._client().sign_in_with_password({"email": email, "password": password})
        return await self._session(answer.session)

    async def refresh(self, refresh_token: str) -> Session:
        """A new session; the refresh token is used up, but that Supabase takes the last one again, for an answer that was lost."""
        if not refresh_token or not refresh_token.isascii():
            raise Unauthenticated("the refresh token is not good; log in again")
        try:
            with mapped():
                answer = await self._client().refresh_session(refresh_token)
        except Invalid as error:
            raise Unauthenticated("the refresh token is not good; log in again") from error
        return await self._session(answer.session)

    async def logout(self, session: Session) -> None:
        """End the log-in: its refresh tokens are no longer good. One that has ended already is left as it is."""
        if session.access_token:
            try:
                await self._sign_out(session.access_token, "local")
            except Unauthenticated:
                _log.debug("the access token of a log-out is no longer good; its refresh token is tried")
            else:
                return
        try:
            with mapped():
                answer = await self._client().refresh_session(session.refresh_token)
            if answer.session is not None:
                await self._sign_out(answer.session.access_token, "local")
        except (Unauthenticated, Invalid):
            return

    # -- recovery -------------------------------------------------------------------------------------------------

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        """Ask for an account with this password. It is the invited user's once they have followed the link that is sent to the address.

        An address that the tenant has not invited, or that has an account, gets nothing, and the caller sees no difference.
        """
        _check_password(password)
        if self._service_key is not None and not await self._invited(email, tenant_id):
            return
        data = {"tenant_id": tenant_id, "display_name": display_name[:200]}
        try:
            with mapped():
                answer = await self._client().sign_up({"email": email, "password": password, "options": {"data": data}})
        except (Duplicate, Invalid) as error:
            # Told to the caller, it would tell them which addresses are invited.
            _log.info("a sign-up was not taken", error=error.code)
            return
        if answer.session is not None:  # the project confirms nothing; nobody has proved to own the address
            await self._sign_out(answer.session.access_token, "local")

    async def request_magic_link(self, email: str) -> None:
        """Send a link that logs in once, to an address that has an account or, with the service key, is invited."""
        if not _ADDRESS.fullmatch(email):
            return
        invited = self._service_key is not None and await self._invited(email)
        await self._quietly(
            self._client().sign_in_with_otp({"email": email, "options": {"should_create_user": invited}})
        )

    async def redeem_magic_link(self, token: str) -> Session:
        """A session for the token of a link that logs in or confirms an address. In the link it is `token_hash`, or else `token`."""
        return await self._session(await self._verified(token, "email"))

    async def request_password_reset(self, email: str) -> None:
        """Send a link that sets a new password."""
        if _ADDRESS.fullmatch(email):
            await self._quietly(self._client().reset_password_for_email(email))

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password, and end every session of the user."""
        _check_password(password)
        granted = await self._verified(token, "recovery")
        client = self._client()
        with mapped():
            await client.set_session(granted.access_token, granted.refresh_token)
            try:
                await client.update_user({"password": password})
            finally:
                await client.admin.sign_out(granted.access_token, "global")

    # -- other sites ----------------------------------------------------------------------------------------------

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        """Where to send the user. Raises `Unsupported` for a provider that the project has not switched on."""
        if not redirect_to.startswith(("http://", "https://")):
            raise Invalid({"redirect_to": "is not an http or https address"})
        if not (await self.settings()).get("external", {}).get(provider):
            raise Unsupported("supabase", f"log-in through {provider!r} is not switched on in the project")
        storage = AsyncMemoryStorage()
        client = self._client("pkce", storage)
        with mapped():
            answer = await client.sign_in_with_oauth(
                {"provider": cast("Provider", provider), "options": {"redirect_to": redirect_to}}
            )
        (verifier,) = storage.storage.values()
        return OAuthStart(answer.url, verifier)

    async def finish_oauth(self, code: str, verifier: str) -> Session:
        """A session for the code that came back to `redirect_to`, and the verifier of `start_oauth`."""
        with mapped():
            answer = await self._client("pkce").exchange_code_for_session(
                {"auth_code": code, "code_verifier": verifier, "redirect_to": ""}
            )
        return await self._session(answer.session)

    # -- the project ----------------------------------------------------------------------------------------------

    async def settings(self) -> Mapping[str, Any]:
        """What the project's auth tells everybody of itself: `external` providers, `mailer_autoconfirm`, `disable_signup`, ..."""
        return await self._get("/auth/v1/settings", self._anon_key)

    async def public_keys(self) -> Mapping[str, Any]:
        """The JSON Web Key Set of the project; without keys where it signs with its secret alone."""
        return await self._get("/auth/v1/.well-known/jwks.json", self._anon_key)

    async def add_account(self, identity: Identity, password: str) -> bool:
        """An account, confirmed, for a user of ours; False where the address has one. Needs the service key."""
        if self._service_key is None:
            raise Unsupported("supabase", "accounts are made with the project's service key, which is not set")
        admin = AsyncGoTrueAdminAPI(
            url=f"{self._url}/auth/v1", headers=_headers(self._service_key), http_client=self._http
        )
        metadata = {"tenant_id": identity.tenant_id, "role": identity.role, "user_id": identity.user_id}
        try:
            with mapped():
                await admin.create_user(
                    {"email": identity.email, "password": password, "email_confirm": True, "app_metadata": metadata}
                )
        except Duplicate:
            return False
        return True

    # -- inside ---------------------------------------------------------------------------------------------------

    def _client(self, flow: AuthFlowType = "implicit", storage: AsyncMemoryStorage | None = None) -> AsyncGoTrueClient:
        """A client for one call: no log-in is kept in it, and none is refreshed behind our back."""
        return AsyncGoTrueClient(
            url=f"{self._url}/auth/v1",
            headers=_headers(self._anon_key),
            http_client=self._http,
            storage=storage,
            auto_refresh_token=False,
            persist_session=False,
            flow_type=flow,
        )

    async def _session(self, granted: Granted | None) -> Session:
        """The session as ours. Raises `Unauthenticated` where the token names no tenant, or the user is no longer a member."""
        if granted is None:
            raise Unauthenticated("the address is not confirmed yet; follow the link that was sent to it")
        claims = _claims(granted.access_token)
        identity = identity_in(claims)
        await self._check_member(identity, granted.access_token)
        expires = datetime.fromtimestamp(float(claims["exp"]), UTC)
        return Session(identity, granted.access_token, granted.refresh_token, expires)

    async def _check_member(self, identity: Identity, token: str) -> None:
        """Ask the database: auth itself goes on logging in whom Interlock has let go."""
        who = httpx.QueryParams({"select": "id", "id": f"eq.{identity.user_id}"})
        answer = await self._send(
            "GET", f"/rest/v1/users?{who}", {"apikey": self._anon_key, "authorization": f"Bearer {token}"}
        )
        if answer.status_code == 401:
            raise Unauthenticated("the address or the password is wrong")

    async def _sign_out(self, access_token: str, scope: Any) -> None:
        with mapped():
            await self._client().admin.sign_out(access_token, scope)

    async def _verified(self, token: str, kind: Any) -> Granted:
        if not token or not token.isascii():
            raise Unauthenticated("the link is not, or no longer, good; ask for a new one")
        try:
            with mapped():
                answer = await self._client().verify_otp({"token_hash": token, "type": kind})
        except Invalid as error:
            raise Unauthenticated("the link is not, or no longer, good; ask for a new one") from error
        if answer.session is None:
            raise Unavailable("Supabase's auth took the link and gave no session")
        return answer.session

    async def _quietly(self, work: Any) -> None:
        """Wait for it; what it says of the address is told to nobody."""
        try:
            with mapped():
                await work
        except (Unauthenticated, Invalid, Unsupported, Duplicate) as error:
            _log.info("a link was not sent", error=error.code)

    async def _invited(self, email: str, tenant_id: str | None = None) -> bool:
        """Whether an active user of this address is there, in the tenant or in any."""
        if self._service_key is None:
            return False
        pattern = email.translate(_LITERAL)
        where = {"select": "email", "email": f"ilike.{pattern}", "active": "is.true", "deleted_at": "is.null"}
        if tenant_id is not None:
            where["tenant_id"] = f"eq.{tenant_id}"
        answer = await self._send("GET", f"/rest/v1/users?{httpx.QueryParams(where)}", _headers(self._service_key))
        if answer.status_code != 200:
            raise Unavailable(f"Supabase answered {answer.status_code} when it was asked for the invited users")
        return any(fold(row["email"]) == fold(email) for row in _decoded(answer))

    async def _get(self, path: str, key: str) -> Mapping[str, Any]:
        answer = await self._send("GET", path, {"apikey": key})
        if answer.status_code != 200:
            raise Unavailable(f"Supabase's auth answered {answer.status_code}")
        found = _decoded(answer)
        return found if isinstance(found, dict) else {}

    async def _send(self, method: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        with mapped():
            return await self._http.request(method, f"{self._url}{path}", headers=dict(headers))


def _headers(key: str) -> dict[str, str]:
    return {"apikey": key, "Authorization": f"Bearer {key}"}


def _decoded(answer: httpx.Response) -> Any:
    with mapped():
        return answer.json()


def _claims(token: str) -> Mapping[str, Any]:
    """What a token says that has just come from the project itself; nobody else's is read here, so nothing is verified."""
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
        float(claims["exp"])
    except (jwt.PyJWTError, KeyError, TypeError, ValueError) as error:
        raise Unavailable("Supabase's auth gave a token that cannot be read") from error
    return claims


def _check_password(password: str) -> None:
    """Raises `Invalid` for one that no account should have."""
    size = len(password.encode(errors="replace"))
    if len(password) < MIN_PASSWORD or size > MAX_PASSWORD:
        raise Invalid({"password": f"needs at least {MIN_PASSWORD} characters and at most {MAX_PASSWORD} bytes"})
