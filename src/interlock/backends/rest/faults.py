"""Error replies to our errors: the one place where a status or a problem body becomes one of the contract's errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.backends.rest.codec import Codec, dig
from interlock.errors import (
    Conflict,
    DeadlineExceeded,
    Duplicate,
    Forbidden,
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from interlock.backends.rest.dialects import Faults
    from interlock.http import Reply

__all__ = ["Concern", "error_of", "fault_of", "retry_after"]

_BY_STATUS = {
    400: "invalid",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "unsupported",
    408: "cut_off",
    409: "clash",
    410: "not_found",
    412: "conflict",
    413: "invalid",
    415: "unsupported",
    422: "invalid",
    429: "rate_limited",
    501: "unsupported",
    502: "cut_off",
    503: "unavailable",
    504: "cut_off",
}
_PARTS = {"Idempotency-Key": "operation_id", "If-Match": "expected_version", "_cursor": "cursor", "_limit": "limit"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Concern(msgspec.Struct, frozen=True):
    """What a call was about, for its errors. `codec` is None for calls that are about no entity."""

    api: str
    resource: str
    codec: Codec | None = None
    id: str = ""
    expected_version: int | None = None
    operation_id: str | None = None


def retry_after(header: str | None) -> float | None:
    """Seconds from a Retry-After header: a number, or a date."""
    if not header:
        return None
    try:
        return _sane(float(header))
    except ValueError:
        pass
    try:
        return _sane((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _sane(seconds: float) -> float:
    """Nobody waits for more than a day; what is no number is no wait."""
    return min(max(0.0, seconds), 86_400.0) if seconds == seconds else 0.0


def error_of(reply: Reply, faults: Faults, concern: Concern) -> InterlockError:
    """The error that a reply with a status of 300 or more stands for."""
    if reply.status < 400:
        return Unavailable(
            f"{concern.api} redirects elsewhere ({reply.status}), which is not followed; correct its base URL"
        )
    try:
        body = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body = None
    text = bytes(reply.body[:4000]).decode(errors="replace")
    code = next((ours for piece, ours in faults.texts.items() if piece in text), None)
    wait = retry_after(reply.header("retry-after"))
    return fault_of(body if isinstance(body, dict) else {}, faults, concern, reply.status, code=code, wait=wait)


def fault_of(
    problem: dict[str, Any],
    faults: Faults,
    concern: Concern,
    status: int,
    *,
    code: str | None = None,
    wait: float | None = None,
) -> InterlockError:
    """The error that a problem body stands for; its code goes before the status."""
    given = dig(problem, faults.code)
    code = code or faults.codes.get(str(given)) or (given if given in _MAKERS else None) or _BY_STATUS.get(status, "")
    message = _clean(dig(problem, faults.message) or problem.get("title") or f"{concern.api} answered {status}")
    return _MAKERS.get(code, _unavailable)(_Told(problem, faults, concern, status, message, wait))


class _Told(msgspec.Struct, frozen=True):
    problem: dict[str, Any]
    faults: Faults
    concern: Concern
    status: int
    message: str
    wait: float | None

    def fields(self) -> dict[str, str]:
        """What is wrong with which field, by our names."""
        found = dig(self.problem, self.faults.fields)
        if not isinstance(found, dict):
            return {}
        return {self.name(str(wire)): _text(text) for wire, text in found.items()}

    def name(self, wire: str) -> str:
        """Our name of what the API calls so: of a field, or of a part of the request."""
        if wire in _PARTS:
            return _PARTS[wire]
        return self.concern.codec.name(wire) if self.concern.codec else wire

    def current(self) -> Any:
        """The record as it stands, where a conflict brings it along."""
        row = self.problem.get("current")
        if self.concern.codec is None or not isinstance(row, dict):
            return None
        try:
            return self.concern.codec.row(msgspec.json.encode(row))
        except msgspec.MsgspecError:
            return None


def _invalid(told: _Told) -> InterlockError:
    return Invalid(told.fields() or {"request": told.message}, told.message)


def _not_found(told: _Told) -> InterlockError:
    if not told.concern.id:
        return Unavailable(f"{told.concern.api} has no such path for {told.concern.resource}; correct its base URL")
    return NotFound(told.concern.resource, told.concern.id)


def _conflict(told: _Told) -> InterlockError:
    return Conflict(told.concern.resource, told.concern.id, told.concern.expected_version, told.current())


def _duplicate(told: _Told) -> InterlockError:
    wire = told.problem.get("field") or next(iter(told.fields()), "id")
    field = told.name(str(wire))
    existing = told.problem.get("existingId") or (told.concern.id if field == "id" else None)
    return Duplicate(told.concern.resource, field, existing or None)


def _clash(told: _Told) -> InterlockError:
    """409 without a code: of a version where one was expected, else of a unique value."""
    return _conflict(told) if told.concern.expected_version is not None and not told.fields() else _duplicate(told)


def _late(told: _Told) -> InterlockError:
    if told.concern.operation_id is not None:
        return OutcomeUnknown(told.concern.operation_id)
    return DeadlineExceeded(f"{told.concern.api} answered that its time was up")


def _cut_off(told: _Told) -> InterlockError:
    """Something between us and the API lost the answer."""
    if told.concern.operation_id is not None:
        return OutcomeUnknown(told.concern.operation_id)
    return _unavailable(told)


def _unavailable(told: _Told) -> InterlockError:
    return Unavailable(told.message, told.wait)


_MAKERS: Mapping[str, Callable[[_Told], InterlockError]] = {
    "invalid": _invalid,
    "unauthenticated": lambda told: Unauthenticated(told.message),
    "forbidden": lambda told: Forbidden(told.message),
    "not_found": _not_found,
    "conflict": _conflict,
    "duplicate": _duplicate,
    "clash": _clash,
    "rate_limited": lambda told: RateLimited(f"{told.concern.api} says: too many calls", told.wait or 1.0),
    "unavailable": _unavailable,
    "deadline_exceeded": _late,
    "outcome_unknown": _cut_off,
    "cut_off": _cut_off,
    "unsupported": lambda told: Unsupported(told.concern.api, told.message),
}


def _text(told: Any) -> str:
    """What is wrong: a text, or a list of them."""
    return _clean("; ".join(map(str, told)) if isinstance(told, list) else told)


def _clean(text: Any) -> str:
    return _CONTROL.sub(" ", str(text))[:300]
