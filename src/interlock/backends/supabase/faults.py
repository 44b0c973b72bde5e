"""Error replies of PostgREST to our errors: the one place where a status, an SQLSTATE or a PGRST code becomes one of the contract's.

PostgREST 12 and later name the same thing differently in places (a missing table is 42P01, then PGRST205): both are known. A reply's own text may
hold values of other records, so none of it goes into a message.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from interlock.errors import (
    Conflict,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    Misconfigured,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from interlock.http import Reply

__all__ = ["RIVALS", "Concern", "Fault", "error_of", "fault_of"]


class Concern(msgspec.Struct, frozen=True):
    """What a call was about, for its errors. `operation_id` is None for a read."""

    resource: str
    operation_id: str | None = None


class Fault(msgspec.Struct, frozen=True):
    """The body of an error reply. `details` is a text where it is one of ours."""

    code: str | None = ""
    message: str | None = ""
    details: Any = None


_fault = msgspec.json.Decoder(Fault, strict=False)
_KEY: Final = re.compile(r'unique constraint "([a-z0-9_]+)"')
_SQLSTATE: Final = re.compile(r"[0-9A-Z]{5}")

_MISSING: Final = frozenset(
    {
        *("42P01", "42883", "42703", "3F000", "PT404"),
        *("PGRST106", "PGRST200", "PGRST202", "PGRST203", "PGRST204", "PGRST205"),
    }
)
"""A table, a function, a column or a schema that our migrations make is not there."""

_LOGIN: Final = frozenset({"PGRST300", "PGRST301", "PGRST302", "PGRST303", "PT401"})

_AWAY: Final = frozenset({"PGRST000", "PGRST002", "PGRST003", "08001", "08004", "53300", "53200", "53400", "57P03"})
"""There was no connection to carry the statement."""

_BROKEN: Final = frozenset({"PGRST001", "08000", "08003", "08006", "08007", "57P01", "57P02", "57P05"})
"""The connection went while the statement was on its way: it may have been carried out."""

RIVALS: Final = frozenset({"40001", "40P01", "55P03"})
"""Two transactions were in each other's way: nothing was written, and the call may be sent again."""

_FULL: Final = frozenset({"53100", "25006"})
"""The disk is full; a hosted project becomes read-only then."""

_SYNTAX: Final = frozenset({"PGRST100", "PGRST102", "PGRST103", "PGRST108", "PGRST118"})


def fault_of(reply: Reply) -> Fault:
    """The body of an error reply, as far as it is one."""
    try:
        return _fault.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Fault()


def duplicate_field(resource: str, fault: Fault) -> str | None:
    """The field whose unique key a write met: keys are named <resource>_<field>_key, and <resource>_pkey is the id's."""
    found = _KEY.search(fault.message or "")
    if found is None:
        return None
    name = found[1].removeprefix(f"{resource}_")
    return "id" if name == "pkey" else name.removesuffix("_key")


def error_of(reply: Reply, concern: Concern) -> InterlockError:
    """The error that a reply with a status of 300 or more stands for."""
    fault = fault_of(reply)
    by_code = _by_code(fault, fault.code or "", concern)
    return by_code if by_code is not None else _by_status(reply, fault, concern)


def _by_code(fault: Fault, code: str, concern: Concern) -> InterlockError | None:
    resource = concern.resource
    if code == "PT422" and fault.message == "operation_reused":
        return Invalid({"operation_id": "was used for another request; mint a new one"})
    if code == "PT422" and fault.message == "last_admin":
        return Invalid({"role": "this is the last active admin; make somebody else an admin first"})
    if code in _LOGIN:
        if fault.message == "user_revoked":
            return Unauthenticated("the user was deactivated; ask an admin of the tenant")
        return Unauthenticated("the token is not, or no longer, good; log in again")
    if code == "42501":
        return Forbidden(f"{resource}: the role may not do this")
    if code in _MISSING:
        lacks = f"the project lacks what {resource} needs; bring its migrations up: supabase db push"
        return Misconfigured([f"INTERLOCK_SUPABASE_URL: {lacks}"])
    if code == "23505":
        return Duplicate(resource, duplicate_field(resource, fault) or "id")
    if code.startswith(("22", "23", "54")) or code in _SYNTAX:
        return Invalid({"request": f"the database refuses a value of {resource} ({code})"})
    return _by_state(code, concern)


def _by_state(code: str, concern: Concern) -> InterlockError | None:
    """What is wrong with the database itself."""
    if code in RIVALS:
        return Unavailable("supabase: two writes were in each other's way; try again", retry_after=0.05)
    if code in _FULL:
        return Unavailable("supabase: the project's disk is full, or it takes no writes")
    if code in _BROKEN:
        return _cut_off(concern, "the database's connection broke")
    if code in _AWAY:
        return Unavailable("supabase: the database is not there, or has no connection left", retry_after=1.0)
    if code == "57014":
        return Unavailable("supabase: the database gave the call up after its time; ask for less at once")
    if code.startswith("PGRST0"):
        return Unavailable(f"supabase: PostgREST is not ready ({code})", retry_after=1.0)
    return None


def _by_status(reply: Reply, fault: Fault, concern: Concern) -> InterlockError:
    status, resource = reply.status, concern.resource
    if status < 400:
        return Unavailable(f"supabase redirects elsewhere ({status}), which is not followed; correct its URL")
    if status == 401:
        return Unauthenticated("supabase does not take the key or the token; check the key, or log in again")
    if status == 403:
        return Forbidden(f"{resource}: the role may not do this")
    if status == 404:
        # PostgREST 12 answers a write to a table that is not there with this status and nothing else.
        mend = f"nothing serves /rest/v1/{resource} there; correct it, or bring the project's migrations up: supabase db push"
        return Misconfigured([f"INTERLOCK_SUPABASE_URL: {mend}"])
    if status == 409:
        return Duplicate(resource, "id")
    if status == 412:
        return Conflict(resource, "", None)
    if status == 429:
        return RateLimited("supabase has had too many calls", _seconds(reply) or 1.0)
    if status in {405, 406, 415, 501}:
        return Unsupported("supabase", f"{resource} (status {status})")
    if status in {408, 502, 504}:
        return _cut_off(concern, f"the front of supabase gave it up (status {status})")
    if _SQLSTATE.fullmatch(fault.code or ""):
        # A state that says nothing of the request, such as after a restart. An error of PostgreSQL undoes its statement.
        return Unavailable(f"supabase: the database refuses it ({fault.code})", _seconds(reply))
    if status < 500:
        return Invalid({"request": f"supabase refuses it (status {status}, {fault.code or 'no code'})"})
    if status == 503:
        return Unavailable(f"supabase answered with status {status}", _seconds(reply))
    return _cut_off(concern, f"supabase answered with status {status}", _seconds(reply))


def _cut_off(concern: Concern, why: str, wait: float | None = None) -> InterlockError:
    """Lost between us and the database: a write may have been carried out."""
    if concern.operation_id is not None:
        return OutcomeUnknown(concern.operation_id, f"the write was sent and {why}")
    return Unavailable(f"supabase: {why}", wait)


def _seconds(reply: Reply) -> float | None:
    given = reply.header("retry-after")
    return min(float(given), 86_400.0) if given is not None and given.isdecimal() else None
