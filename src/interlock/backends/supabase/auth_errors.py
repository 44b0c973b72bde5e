"""What Supabase's auth refuses, in Interlock's words: the one place where its errors are mapped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthWeakPasswordError

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

__all__ = ["auth_error", "mapped"]

_NOT_GOOD: Final = frozenset(
    {
        "invalid_credentials",
        "email_not_confirmed",
        "user_banned",
        "user_not_found",
        "user_sso_managed",
    }
)
_TOKEN: Final = frozenset(
    {
        "bad_jwt",
        "invalid_jwt",
        "no_authorization",
        "session_not_found",
        "session_expired",
        "refresh_token_not_found",
        "refresh_token_already_used",
        "reauthentication_needed",
        "unexpected_audience",
    }
)
_LINK: Final = frozenset(
    {
        "otp_expired",
        "bad_code_verifier",
        "bad_oauth_state",
        "bad_oauth_callback",
        "flow_state_expired",
        "flow_state_not_found",
        "invite_not_found",
    }
)
_OFF: Final = frozenset(
    {
        "signup_disabled",
        "otp_disabled",
        "provider_disabled",
        "email_provider_disabled",
        "oauth_provider_not_supported",
        "captcha_failed",
        "email_address_not_authorized",
    }
)
_TAKEN: Final = frozenset({"email_exists", "user_already_exists", "identity_already_exists", "conflict"})
_KEY: Final = re.compile(r"api key", re.IGNORECASE)
_AFTER: Final = re.compile(r"after (\d+) second", re.IGNORECASE)


@contextmanager
def mapped() -> Iterator[None]:
    """Lets nothing but Interlock's errors out of the block."""
    try:
        yield
    except (AuthError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise auth_error(error) from error


def auth_error(error: Exception) -> InterlockError:
    """The error of ours for one of Supabase's auth, of its client, or of the HTTP below it."""
    if isinstance(error, AuthWeakPasswordError):
        return Invalid({"password": f"is too weak for the project ({', '.join(error.reasons) or 'its rules'})"})
    if isinstance(error, AuthRetryableError) or not isinstance(error, AuthError):
        return Unavailable("Supabase's auth did not answer, or not sensibly")
    if not isinstance(error, AuthApiError):
        return _without_code(error)
    return _of_code(error) or _of_status(error)


def _without_code(error: AuthError) -> InterlockError:
    if type(error).__name__ in ("AuthSessionMissingError", "AuthInvalidCredentialsError", "AuthInvalidJwtError"):
        return Unauthenticated("the token is not good; log in again")
    return Unavailable("Supabase's auth answered with something that cannot be read")


def _of_code(error: AuthApiError) -> InterlockError | None:
    code = str(error.code or "")
    if code in _NOT_GOOD:
        return Unauthenticated("the address or the password is wrong")
    if code in _TOKEN:
        return Unauthenticated("the log-in is no longer good; log in again")
    if code in _LINK:
        return Unauthenticated("the link is not, or no longer, good; ask for a new one")
    if code in _TAKEN:
        return Duplicate("users", "email")
    if code in _OFF:
        return Unsupported("supabase", f"the project does not allow it ({code})")
    match code:
        case "same_password" | "weak_password":
            return Invalid({"password": "is the one that it was" if code == "same_password" else "is too weak"})
        case "email_address_invalid":
            return Invalid({"email": "is not an address that the project takes"})
        case "not_admin" | "insufficient_aal":
            return Forbidden("the project's key, or the log-in, may not do this")
        case "request_timeout" | "hook_timeout" | "hook_timeout_after_retry":
            return Unavailable("Supabase's auth did not answer in time")
    if code.startswith("over_") or error.status == 429:
        return RateLimited("too many calls of Supabase's auth", _retry_after(error))
    return None


def _of_status(error: AuthApiError) -> InterlockError:
    if _KEY.search(error.message) and error.status in (401, 403):
        return Misconfigured(["INTERLOCK_SUPABASE_ANON_KEY: the project does not take it; copy the project's key"])
    match error.status:
        case 400 | 422:
            return Invalid({"request": "Supabase's auth does not take it; check what was given"})
        case 401 | 403:
            return Unauthenticated("the log-in is no longer good; log in again")
        case 404:
            return Misconfigured(["INTERLOCK_SUPABASE_URL: no Supabase auth answers there; copy the project's address"])
        case _:
            return Unavailable(f"Supabase's auth answered {error.status}")


def _retry_after(error: AuthError) -> float:
    """Seconds: from the answer's header, else from its words, else one."""
    cause = error.__cause__
    said = cause.response.headers.get("retry-after", "") if isinstance(cause, httpx.HTTPStatusError) else ""
    if said.isdigit():
        return float(said)
    found = _AFTER.search(error.message)
    return float(found.group(1)) if found else 1.0
