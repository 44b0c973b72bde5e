"""Edge functions of a Supabase project, through the official client; what they refuse, in Interlock's words, in one place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec
from supabase_functions import AsyncFunctionsClient
from supabase_functions.errors import FunctionsError, FunctionsHttpError, FunctionsRelayError

from interlock.abilities import TokenSource
from interlock.contract import Identity
from interlock.errors import (
    Conflict,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from interlock.identifiers import new_id

__all__ = ["SupabaseFunctions"]

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}", re.ASCII)

_encode: Final = msgspec.json.Encoder(decimal_format="string").encode


class _Problem(msgspec.Struct, rename="camel"):
    """The body of a refusal, as Interlock's functions and gateway write it. Others' bodies are problems that say nothing."""

    code: str = ""
    message: str = ""
    errors: dict[str, str] = {}
    resource: str = ""
    id: str = ""
    field: str = ""
    existing_id: str | None = msgspec.field(default=None, name="existing_id")


_problem: Final = msgspec.json.Decoder(_Problem, strict=False)


class SupabaseFunctions:
    """`Invokes` over a project's edge functions. `timeout` is in seconds."""

    def __init__(self, url: str, anon_key: str, *, tokens: TokenSource, timeout: float = 30.0) -> None:
        self._url = f"{url.rstrip('/')}/functions/v1"
        self._anon_key = anon_key
        self._tokens = tokens
        self._http = httpx.AsyncClient(timeout=timeout)

    def __repr__(self) -> str:
        return f"SupabaseFunctions({self._url!r})"

    async def aclose(self) -> None:
        """Release the connections. Closing twice does nothing more."""
        await self._http.aclose()

    async def invoke(
        self, identity: Identity, name: str, arguments: Mapping[str, Any], *, operation_id: str | None = None
    ) -> Any:
        """What the function answers: JSON as Python's own values, else bytes. See `Invokes.invoke`.

        The same `operation_id` again finds out what became of a call whose answer did not come (`OutcomeUnknown`). Raises `Unsupported`
        for a function that the project does not have, and what the function refuses with.
        """
        if not _NAME.fullmatch(name):
            raise Invalid({"name": "is no name of a function; give letters, digits, - and _"})
        operation = operation_id or new_id()
        try:
            body = _encode(arguments)
        except (TypeError, ValueError) as error:
            raise Invalid({"arguments": "hold a value that JSON has no form for"}) from error
        try:
            return await self._answer(identity, name, body, operation, refresh=False)
        except Unauthenticated:
            return await self._answer(identity, name, body, operation, refresh=True)

    async def _answer(self, identity: Identity, name: str, body: bytes, operation_id: str, *, refresh: bool) -> Any:
        token = await self._tokens.token(identity, refresh=refresh)
        headers = {"apikey": self._anon_key, "Authorization": f"Bearer {token}"}
        client = AsyncFunctionsClient(self._url, headers, http_client=self._http)
        sent = {"Content-Type": "application/json", "x-interlock-operation": operation_id}
        try:
            return _decoded(await client.invoke(name, {"body": body, "headers": sent}))
        except (FunctionsError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise _mapped(error, name, operation_id) from error


def _decoded(answer: Any) -> Any:
    try:
        return msgspec.json.decode(answer) if answer else None
    except msgspec.DecodeError:
        return answer


def _mapped(error: Exception, name: str, operation_id: str) -> InterlockError:
    """The error of ours for one of the functions' client, or of the HTTP below it."""
    if isinstance(error, FunctionsRelayError):
        return Unavailable("Supabase's functions are not running")
    if isinstance(error, FunctionsHttpError):
        return _refused(error, name, operation_id)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.InvalidURL):
        return Unavailable("Supabase's functions cannot be reached")
    if isinstance(error, httpx.TimeoutException):
        return OutcomeUnknown(operation_id, f"the function {name} was called and did not answer in time")
    return OutcomeUnknown(operation_id, f"the function {name} was called and its answer did not come")


def _refused(error: FunctionsHttpError, name: str, operation_id: str) -> InterlockError:
    reply = error.__cause__.response if isinstance(error.__cause__, httpx.HTTPStatusError) else None
    try:
        problem = _problem.decode(reply.content) if reply is not None else _Problem()
    except msgspec.DecodeError:
        problem = _Problem()
    retry_after = reply.headers.get("retry-after", "") if reply is not None else ""
    known = _by_code(problem)
    return known if known is not None else _by_status(error.status, name, operation_id, retry_after)


def _by_code(problem: _Problem) -> InterlockError | None:
    match problem.code:
        case "invalid":
            return Invalid(problem.errors or {"request": "the function refuses it"})
        case "unauthenticated":
            return Unauthenticated("the token is not, or no longer, good; log in again")
        case "forbidden":
            return Forbidden(problem.message or "the role may not do this")
        case "not_found" if problem.resource:
            return NotFound(problem.resource, problem.id)
        case "duplicate" if problem.resource:
            return Duplicate(problem.resource, problem.field or "id", problem.existing_id)
        case "conflict" if problem.resource:
            return Conflict(problem.resource, problem.id, None)
        case "misconfigured":
            return Misconfigured(
                ["INTERLOCK_SUPABASE_URL: the project lacks a migration; bring it up: supabase db push"]
            )
        case "unavailable":
            return Unavailable(problem.message or "the function could not do it now; try again")
    return None


def _by_status(status: int, name: str, operation_id: str, retry_after: str) -> InterlockError:
    seconds = min(float(retry_after), 86_400.0) if retry_after.isdecimal() else None
    match status:
        case 400 | 413 | 415 | 422:
            return Invalid({"request": f"the function {name} refuses it (status {status})"})
        case 401:
            return Unauthenticated("the token is not, or no longer, good; log in again")
        case 403:
            return Forbidden(f"the function {name} refuses the caller")
        case 404 | 405:
            return Unsupported(
                "supabase", f"the project has no function {name!r}; bring it up: supabase functions deploy"
            )
        case 429:
            return RateLimited("Supabase's functions have had too many calls", seconds or 1.0)
        case 502 | 503:
            return Unavailable(f"the function {name} is not there now (status {status})", seconds)
        case 504 | 546:
            return OutcomeUnknown(operation_id, f"the function {name} was called and broken off (status {status})")
    return Unavailable(f"the function {name} failed (status {status})", seconds)
