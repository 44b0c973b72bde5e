"""What Supabase Storage refuses, in Interlock's words: the one place where its errors are mapped.

Storage answers most refusals with status 400 and the real status in the body. A reply's own text goes into no message.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import msgspec
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException

from interlock.errors import (
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

__all__ = ["About", "Refusal", "mapped", "refusal_in", "storage_error"]


class About(msgspec.Struct, frozen=True):
    """What a call was about. `operation_id` is None for a read, `size` the number of bytes of an upload."""

    bucket: str
    id: str
    operation_id: str | None = None
    size: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """A refusal of Storage. `status` is the real one."""

    status: int
    error: str = ""
    message: str = ""
    code: str = ""
    retry_after: float | None = None

    @property
    def no_range(self) -> bool:
        """True where the object is there, and the range begins behind its end."""
        return self.status == 416 or "InvalidRange" in (self.code, self.message)


class _Body(msgspec.Struct):
    statusCode: str | int | None = None  # noqa: N815 - its name on the wire
    error: str = ""
    message: str = ""
    code: str = ""


_body: Final = msgspec.json.Decoder(_Body, strict=False)


def refusal_in(status: int, body: bytes, retry_after: str | None = None) -> Refusal:
    """The refusal that an answer with a status of 300 or more is."""
    try:
        said = _body.decode(body)
    except msgspec.DecodeError:
        said = _Body()
    given = str(said.statusCode or "")
    seconds = min(float(retry_after), 86_400.0) if retry_after is not None and retry_after.isdecimal() else None
    return Refusal(int(given) if given.isdecimal() else status, said.error, said.message, said.code, seconds)


@contextmanager
def mapped(about: About) -> Iterator[None]:
    """Lets nothing of the official client but Interlock's errors out of the block."""
    try:
        yield
    except StorageApiError as error:
        given = str(error.status)
        refusal = Refusal(int(given) if given.isdecimal() else 500, str(error.code), error.message)
        raise storage_error(refusal, about) from error
    except httpx.ConnectError as error:
        raise Unavailable("Supabase's storage cannot be reached") from error
    except (StorageException, httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        raise _cut_off(about, "its answer did not come, or cannot be read") from error


def storage_error(refusal: Refusal, about: About) -> InterlockError:
    """The error of ours for a refusal."""
    words = f"{refusal.error} {refusal.message} {refusal.code}".lower()
    if "bucket not found" in words or "nosuchbucket" in words:
        return Misconfigured(
            [
                f"INTERLOCK_SUPABASE_URL: the project has no bucket {about.bucket!r}; bring its migrations up: supabase db push"
            ]
        )
    if refusal.status == 401 or "jwt" in words or _bad_token(refusal, words):
        return Unauthenticated("the token is not, or no longer, good; log in again")
    return _by_status(refusal, about)


def _bad_token(refusal: Refusal, words: str) -> bool:
    """Storage refuses a bad token with the status, and in the place, of a row that policies refuse: only its words tell."""
    return refusal.status == 403 and any(word in words for word in ("claim", "jws", "signature", "token", "jwk"))


def _by_status(refusal: Refusal, about: About) -> InterlockError:
    status = refusal.status
    match status:
        case 404:
            return NotFound("files", about.id)
        case 403:
            return Forbidden("files: the role may not do this")
        case 402:
            return Unavailable("supabase: the project's quota is used up; raise it, or remove files")
        case 413:
            return Invalid(
                {"size": f"the file has {about.size} bytes, and the bucket {about.bucket!r} takes no file so large"}
            )
        case 415:
            return Misconfigured(
                [f"INTERLOCK_SUPABASE_URL: the bucket {about.bucket!r} takes only some types; let it take every type"]
            )
        case 429:
            return RateLimited("Supabase's storage has had too many calls", refusal.retry_after or 1.0)
        case 409 | 423:
            return Unavailable("supabase: somebody else is writing this file; try again", refusal.retry_after or 0.5)
        case 507:
            return Unavailable("supabase: there is no room left for files")
        case 408 | 502 | 504 | 544:
            return _cut_off(about, f"the front of Supabase's storage gave it up (status {status})")
    if status < 400:
        return Misconfigured(["INTERLOCK_SUPABASE_URL: answers with a redirect; give the address that it leads to"])
    if status < 500:
        return Invalid({"request": f"Supabase's storage refuses it (status {status})"})
    return Unavailable(f"Supabase's storage answered with status {status}", refusal.retry_after)


def _cut_off(about: About, why: str) -> InterlockError:
    if about.operation_id is not None:
        return OutcomeUnknown(about.operation_id, f"the write was sent and {why}")
    return Unavailable(f"Supabase's storage: {why}")
