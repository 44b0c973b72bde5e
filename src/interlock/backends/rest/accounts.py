"""Log-in at an Interlock gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from interlock.abilities import Session
from interlock.backends.rest.caller import Caller
from interlock.backends.rest.faults import Concern
from interlock.backends.rest.native import decoded
from interlock.contract import Identity, Role
from interlock.http import Reply
from interlock.identifiers import new_id

__all__ = ["RemoteAccounts"]


class _User(msgspec.Struct, rename="camel"):
    id: str
    tenant_id: str
    role: Role
    email: str = ""


class _LoggedIn(msgspec.Struct, rename="camel"):
    access_token: str
    refresh_token: str
    expires_in: float
    user: _User

    def __repr__(self) -> str:
        return f"_LoggedIn(user={self.user!r}, tokens hidden)"


_logged_in = msgspec.json.Decoder(_LoggedIn)


class RemoteAccounts:
    """Logs in, signs up and resets passwords at a gateway."""

    def __init__(self, caller: Caller, name: str) -> None:
        self._caller = caller
        self._name = name

    async def _post(self, path: str, body: dict[str, Any], token: str | None = None) -> tuple[Reply, Concern]:
        concern = Concern(self._name, "auth", operation_id=new_id())
        url = self._caller.url(f"auth/{path}")
        return await self._caller.send("POST", url, concern, token=token, body=msgspec.json.encode(body)), concern

    async def _session(self, path: str, body: dict[str, Any]) -> Session:
        reply, concern = await self._post(path, body)
        found: _LoggedIn = decoded(_logged_in.decode, reply, concern)
        identity = Identity(found.user.id, found.user.tenant_id, found.user.role, found.user.email)
        expires = datetime.now(UTC) + timedelta(seconds=found.expires_in)
        return Session(identity, found.access_token, found.refresh_token, expires)

    async def login(self, email: str, password: str) -> Session:
        """Raises `Unauthenticated` alike for an unknown user and a wrong password."""
        return await self._session("login", {"email": email, "password": password})

    async def refresh(self, refresh_token: str) -> Session:
        """New tokens; the old refresh token is spent."""
        return await self._session("refresh", {"refreshToken": refresh_token})

    async def logout(self, session: Session) -> None:
        """The refresh token is worth nothing afterwards."""
        await self._post("logout", {"refreshToken": session.refresh_token}, session.access_token)

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        """Ask for an account in a tenant."""
        body = {"email": email, "password": password, "displayName": display_name, "tenantId": tenant_id}
        await self._post("sign-up", body)

    async def request_magic_link(self, email: str) -> None:
        """Answers the same whether or not there is such a user."""
        await self._post("magic-link", {"email": email})

    async def redeem_magic_link(self, token: str) -> Session:
        """A link works once."""
        return await self._session("magic-link/redeem", {"token": token})

    async def request_password_reset(self, email: str) -> None:
        """Answers the same whether or not there is such a user."""
        await self._post("password-reset", {"email": email})

    async def reset_password(self, token: str, password: str) -> None:
        """A link works once."""
        await self._post("password-reset/confirm", {"token": token, "password": password})
