"""Error replies of PostgREST to our errors: the one place where a status, an SQLSTATE or a PGRST code becomes one of the contract's.

PostgREST 12 and later name the same thing differently in places (a missing table is 42P01, then PGRST205): both are known. A reply's own text may
hold values of other records, so none of it goes into a message.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from interlock.errors import (
    DeadlineExceeded,
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
    """The body of an error reply."""

    code: str = ""
    message: str = ""
    details: str | None = None
    hint: str | None = None


_fault = msgspec.json.Decoder(Fault, strict=False)
_KEY: Final = re.compile(r'unique constraint "([a-z0-9_]+)"')

_MISSING: Final = frozenset(
    {"42P01", "42883", "42703", "3F000", "PGRST106", "PGRST202", "PGRST203", "PGRST204", "PGRST205", "PGRST200"}
)
"""A table, a function, a column or a schema that our migrations make is not there."""

_LOGIN: Final = frozenset({"PGRST301", "PGRST302", "PGRST303", "PT401"})
_AWAY: Final = frozenset(
    {"PGRST000", "PGRST001", "PGRST002", "PGRST003", "53300", "53200", "53400", "57P01", "57P02", "57P03"}
)
RIVALS: Final = frozenset({"40001", "40P01", "55P03"})
"""Two transactions were in each other's way: nothing was written, and the call may be sent again."""

_FULL: Final = frozenset({"53100"})


def fault_of(reply: Reply) -> Fault:
    """The body of an error reply, as far as it is one."""
    try:
        return _fault.decode(reply.body)
    except msgspec.DecodeError:
        return Fault()


def duplicate_field(resource: str, fault: Fault) -> str | None:
    """The field whose unique key a write met: keys are named <resource>_<field>_key, and <resource>_pkey is the id's."""
    found = _KEY.search(fault.message)
    if found is None:
        return None
    name = found[1].removeprefix(f"{resource}_")
    return "id" if name == "pkey" else name.removesuffix("_key")


def error_of(reply: Reply, concern: Concern) -> InterlockError:
    """The error that a reply with a status of 300 or more stands for."""
    fault = fault_of(reply)
    by_code = _by_code(fault, concern)
    return by_code if by_code is not None else _by_status(reply, concern)


def _by_code(fault: Fault, concern: Concern) -> InterlockError | None:
    code, resource = fault.code, concern.resource
    if code == "PT422" and fault.message == "operation_reused":
        return Invalid({"operation_id": "was used for another request; mint a new one"})
    if code in _LOGIN:
        if fault.message == "user_revoked":
            return Unauthenticated("the user was deactivated; ask an admin of the tenant")
        return Unauthenticated("the token is not, or no longer, good; log in again")
    if code == "42501":
        return Forbidden(f"{resource}: the role may not do this")
    if code in _MISSING:
        return Misconfigured(
            [
                f"INTERLOCK_SUPABASE_URL: the project lacks what {resource} needs; bring its migrations up: supabase db push"
            ]
        )
    if code == "23505":
        return Duplicate(resource, duplicate_field(resource, fault) or "id")
    if code in RIVALS:
        return Unavailable("supabase: two writes were in each other's way; try again", retry_after=0.05)
    if code in _FULL:
        return Unavailable("supabase: the project's disk is full")
    if code in _AWAY or code.startswith("08"):
        return Unavailable("supabase: the database is not there, or has no connection left", retry_after=1.0)
    if code == "57014":
        return _cut_off(concern, "the database gave the call up after its time")
    if code.startswith(("22", "23")) or code in {"PGRST100", "PGRST102", "PGRST103", "PGRST108"}:
        return Invalid({"request": f"the database refuses a value of {resource} ({code})"})
    if code.startswith("PGRST") and code[5:6] == "0":
        return Unavailable(f"supabase: PostgREST is not ready ({code})", retry_after=1.0)
    return None


def _by_status(reply: Reply, concern: Concern) -> InterlockError:
    status = reply.status
    if status < 400:
        return Misconfigured(["INTERLOCK_SUPABASE_URL: answers with a redirect; give the address that it leads to"])
    if status == 401:
        return Unauthenticated("supabase does not take the key or the token; check the key, or log in again")
    if status == 403:
        return Forbidden(f"{concern.resource}: the role may not do this")
    if status == 429:
        return RateLimited("supabase has had too many calls", _seconds(reply) or 1.0)
    if status in {404, 405, 406, 415, 501}:
        return Unsupported("supabase", f"{concern.resource} (status {status})")
    if status in {408, 502, 504}:
        return _cut_off(concern, f"the front of supabase gave it up (status {status})")
    if status < 500:
        return Invalid({"request": f"supabase refuses it (status {status})"})
    return Unavailable(f"supabase answered with status {status}", _seconds(reply))


def _cut_off(concern: Concern, why: str) -> InterlockError:
    """Given up between us and the database: a write may have been carried out."""
    if concern.operation_id is not None:
        return OutcomeUnknown(concern.operation_id, f"the write was sent and {why}")
    return DeadlineExceeded(f"supabase: {why}")


def _seconds(reply: Reply) -> float | None:
    given = reply.header("retry-after")
    return min(float(given), 86_400.0) if given is not None and given.isdecimal() else None
