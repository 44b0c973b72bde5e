"""A pretended OAuth provider for the mock: log-in through another site with PKCE, without another site.

It consents at once, for the address that the caller names, so it is for development alone; what it checks of PKCE (RFC 7636, S256) it
checks in earnest: a code is good once, for a minute, and with its own verifier only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import msgspec

from interlock.abilities import OAuthStart, Session
from interlock.errors import Invalid, Unauthenticated, Unsupported

__all__ = ["PROVIDER", "PretendedProvider"]

PROVIDER: Final = "mock"
AUTHORIZE: Final = "https://oauth.mock.invalid/authorize"
"""No such site exists, and none can: `.invalid` is reserved."""

GOOD_FOR: Final = timedelta(seconds=60)
MOST: Final = 1_000
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class _Grant(msgspec.Struct, frozen=True):
    challenge: str
    email: str
    expires_at: datetime


class PretendedProvider:
    """`OAuth` with one provider, "mock". `open_session` logs a user in whose address the provider vouches for."""

    def __init__(self, open_session: Callable[[str], Awaitable[Session]], *, clock: Callable[[], datetime]) -> None:
        self._open_session = open_session
        self._clock = clock
        self._grants: dict[str, _Grant] = {}

    def __repr__(self) -> str:
        return f"PretendedProvider({PROVIDER!r})"

    async def start_oauth(self, provider: str, redirect_to: str) -> OAuthStart:
        """Where a browser would go. Raises `Unsupported` for any provider but "mock"."""
        if provider != PROVIDER:
            raise Unsupported(PROVIDER, f"log-in through {provider!r}; its only provider is {PROVIDER!r}")
        _check_redirect(redirect_to)
        verifier = secrets.token_urlsafe(48)
        query = {
            "response_type": "code",
            "redirect_uri": redirect_to,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        return OAuthStart(f"{AUTHORIZE}?{urlencode(query)}", verifier)

    def consent(self, url: str, email: str) -> str:
        """What the person at the provider's page does: answers where the browser is sent, with the code.

        Raises `Invalid` for a URL without an S256 challenge.
        """
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if not url.startswith(f"{AUTHORIZE}?") or query.get("code_challenge_method") != "S256":
            raise Invalid({"url": "is not one that start_oauth gave: PKCE with S256 is needed"})
        code = secrets.token_urlsafe(32)
        while len(self._grants) >= MOST:
            del self._grants[next(iter(self._grants))]
        self._grants[code] = _Grant(query.get("code_challenge", ""), email, self._clock() + GOOD_FOR)
        parts = urlsplit(query.get("redirect_uri", ""))
        joined = f"{parts.query}&" if parts.query else ""
        return urlunsplit(parts._replace(query=joined + urlencode({"code": code})))

    async def finish_oauth(self, code: str, verifier: str) -> Session:
        """A session for a code and its verifier. Whatever comes of it, the code is used up."""
        grant = self._grants.pop(code, None)
        good = (
            grant is not None
            and grant.expires_at > self._clock()
            and _VERIFIER.fullmatch(verifier) is not None
            and hmac.compare_digest(grant.challenge, challenge_of(verifier))
        )
        if grant is None or not good:
            raise Unauthenticated("the code is not, or no longer, good, or its verifier is another's; start again")
        return await self._open_session(grant.email)


def challenge_of(verifier: str) -> str:
    """The S256 challenge of a verifier: its SHA-256, in base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _check_redirect(redirect_to: str) -> None:
    try:
        parts = urlsplit(redirect_to)
    except ValueError as error:
        raise Invalid({"redirect_to": f"is not a URL ({error}); give one such as https://app.example/back"}) from error
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        raise Invalid(
            {"redirect_to": "is not a http(s) URL without fragment; give one such as https://app.example/back"}
        )
