"""Log-in, log-out, and the ways back in: by whichever backend serves `auth`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

from interlock.abilities import Authenticates, OAuth, OAuthStart, RecoversAccounts, Session
from interlock.entities.user import User
from interlock.errors import Invalid, Unauthenticated
from interlock.services.base import Context

__all__ = ["Auth"]

_EARLY: Final = timedelta(seconds=30)
"""A token that is good for less than this is refreshed before it is handed out."""

_MOST: Final = 1024

A = TypeVar("A")


class Auth:
    """Who the caller is. A log-in here makes all sibling services of the session act as that user."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._refreshing = asyncio.Lock()

    def __repr__(self) -> str:
        return "Auth()"

    # -- the session ----------------------------------------------------------------------------------------------

    async def login(self, email: str, password: str) -> Session:
        """Log in by password. Raises `Unauthenticated` alike for an unknown user and a wrong password."""
        _check_texts(email=email, password=password)
        with self._with(Authenticates) as accounts:
            return self._adopted(await accounts.login(email, password))

    async def logout(self) -> None:
        """Forget the log-in, here and at the backend. Logging out twice does nothing more."""
        session = self.context.session
        self.context.adopt(None)
        if session is not None:
            with self._with(Authenticates) as accounts:
                await accounts.logout(session)

    async def refresh(self, refresh_token: str | None = None) -> Session:
        """A new session for a refresh token, this session's own by default. The old refresh token is no longer good."""
        if refresh_token is not None:
            _check_texts(refresh_token=refresh_token)
            with self._with(Authenticates) as accounts:
                return self._adopted(await accounts.refresh(refresh_token))
        async with self._refreshing:
            with self._with(Authenticates) as accounts:
                return self._adopted(await accounts.refresh(self._session().refresh_token))

    async def current_user(self) -> User:
        """The record of who is logged in. Raises `Unauthenticated`."""
        return await self.context.services.users.get(self.context.identity.user_id)

    async def token(self) -> str:
        """An access token that is still good for a while. Callers at the same time refresh once."""
        async with self._refreshing:
            session = self._session()
            if session.expires_at - self.context.now() < _EARLY:
                with self._with(Authenticates) as accounts:
                    session = self._adopted(await accounts.refresh(session.refresh_token))
            return session.access_token

    @property
    def is_authenticated(self) -> bool:
        """True where somebody is logged in."""
        try:
            return bool(self.context.identity.user_id)
        except Unauthenticated:
            return False

    # -- accounts -------------------------------------------------------------------------------------------------

    async def sign_up(self, email: str, password: str, display_name: str, tenant_id: str) -> None:
        """Ask for an account in a tenant. Tells nobody whether the address has one."""
        _check_texts(email=email, password=password, display_name=display_name, tenant_id=tenant_id)
        with self._with(RecoversAccounts) as accounts:
            await accounts.sign_up(email, password, display_name, tenant_id)

    async def request_magic_link(self, email: str) -> None:
        """Send a link that logs in once. Tells nobody whether the address has an account."""
        _check_texts(email=email)
        with self._with(RecoversAccounts) as accounts:
            await accounts.request_magic_link(email)

    async def redeem_magic_link(self, token: str) -> Session:
        """Log in with the token of a magic link."""
        _check_texts(token=token)
        with self._with(RecoversAccounts) as accounts:
            return self._adopted(await accounts.redeem_magic_link(token))

    async def request_password_reset(self, email: str) -> None:
        """Send a link that sets a new password. Tells nobody whether the address has an account."""
        _check_texts(email=email)
        with self._with(RecoversAccounts) as accounts:
            await accounts.request_password_reset(email)

    async def reset_password(self, token: str, password: str) -> None:
        """Set a new password with the token of a reset link."""
        _check_texts(token=token, password=password)
        with self._with(RecoversAccounts) as accounts:
            await accounts.reset_password(token, password)

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        """Where to send the user to log in through another provider (PKCE)."""
        _check_texts(provider=provider, redirect_to=redirect_to)
        with self._with(OAuth) as accounts:
            return await accounts.start_oauth(provider, redirect_to)

    async def finish_oauth(self, code: str, verifier: str) -> Session:
        """Log in with the code that the provider sent back and the verifier of `start_oauth`."""
        _check_texts(code=code, verifier=verifier)
        with self._with(OAuth) as accounts:
            return self._adopted(await accounts.finish_oauth(code, verifier))

    # -- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _with(self, ability: type[A]) -> Iterator[A]:
        """What provides an ability now, as a call in flight: a switch meanwhile leaves it open to the end."""
        route = self.context.route("auth")
        provider = route.ability(ability)
        with route.held():
            yield provider

    def _session(self) -> Session:
        session = self.context.session
        if session is None:
            raise Unauthenticated("no log-in was made in this session; log in first")
        return session

    def _adopted(self, session: Session) -> Session:
        self.context.adopt(session)
        return session


def _check_texts(**texts: str) -> None:
    """Refuse what no backend should see. The values are secrets, so no message repeats them."""
    problems = {}
    for name, text in texts.items():
        if not isinstance(text, str) or not text:
            problems[name] = "is required"
        elif len(text) > _MOST * 8 or (name != "refresh_token" and name != "token" and len(text) > _MOST):
            problems[name] = f"is longer than {_MOST} characters"
        elif any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text):
            problems[name] = "has control characters; remove them"
    if problems:
        raise Invalid(problems)
