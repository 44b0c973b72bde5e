"""Errors as HTTP answers: RFC 9457 problems that also carry `message`, `code`, `status` and `errors`, in the wire's field names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, ClassVar, Final

import msgspec

from interlock.entity import Entity
from interlock.errors import (
    Conflict,
    Duplicate,
    InterlockError,
    Invalid,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from interlock.gateway.replies import Headers, Reply

__all__ = [
    "MediaType",
    "NoRoute",
    "NotAllowed",
    "RangeOutside",
    "Refused",
    "TooLarge",
    "UriTooLong",
    "problem",
    "reply_to",
    "wire",
]

PROBLEM_JSON: Final = (b"content-type", b"application/problem+json")
LONGEST: Final = 500

_encode = msgspec.json.Encoder().encode
_RENAMED: Final[Mapping[str, str]] = MappingProxyType(
    {"expected_version": "If-Match", "operation_id": "Idempotency-Key"}
)


class Refused(Invalid):
    """Input that this edge itself refuses: its fields are named as the caller named them."""


class NoRoute(InterlockError):
    """Nothing is served under this path."""

    code = "not_found"
    status = 404


class NotAllowed(InterlockError):
    """The path exists, and not for this method."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"{method} is not for this path; it answers {allow}")
        self.allow = allow


class TooLarge(Refused):
    """The body is larger than this server takes."""

    status: ClassVar[int] = 413


class UriTooLong(Refused):
    """The address is longer than this server reads."""

    status: ClassVar[int] = 414


class MediaType(Refused):
    """The body is in a format or encoding that is not read here."""

    status: ClassVar[int] = 415


class RangeOutside(Refused):
    """The range begins behind the end of the file; `size` is in bytes."""

    status: ClassVar[int] = 416

    def __init__(self, size: int) -> None:
        super().__init__({"Range": f"begins behind the end; the file has {size} bytes"})
        self.size = size


def wire(name: str, entity: Entity[Any] | None) -> str:
    """The JSON name of a field that an error names."""
    if entity is not None and name in entity.fields:
        return entity.fields[name].wire
    if name in _RENAMED:
        return _RENAMED[name]
    if "_" not in name.strip("_") or not name.isidentifier() or name.startswith("_"):
        return printable(name)
    first, *rest = name.split("_")
    return printable(first + "".join(part.capitalize() for part in rest))


def printable(text: str) -> str:
    """The text as it can be sent: without lone surrogates, and not longer than an error should be."""
    return text.encode("utf-8", "replace").decode()[:LONGEST]


def problem(error: InterlockError, entity: Entity[Any] | None = None, instance: str = "") -> dict[str, Any]:
    """The problem's members. Only what the error was made to say: no native error, no secret."""
    errors: dict[str, str] = {}
    message = printable(error.message)
    if isinstance(error, Invalid):
        named = printable if isinstance(error, Refused) else partial(wire, entity=entity)
        errors = {named(name): printable(text) for name, text in error.fields.items()}
        if errors:
            message = printable("; ".join(f"{name}: {text}" for name, text in errors.items()))
    body: dict[str, Any] = {
        "type": f"urn:interlock:error:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": message,
        "code": error.code,
        "message": message,
        "errors": errors,
    }
    if instance:
        body["instance"] = printable(instance)
    if isinstance(error, Conflict):
        body["current"] = error.current
    elif isinstance(error, Duplicate):
        field = wire(error.field, entity)
        body |= {"field": field, "existingId": error.existing_id}
        errors[field] = message
    elif isinstance(error, OutcomeUnknown):
        body["operationId"] = error.operation_id
    elif isinstance(error, (RateLimited, Unavailable)) and error.retry_after is not None:
        body["retryAfter"] = error.retry_after
    return body


def reply_to(error: InterlockError, entity: Entity[Any] | None = None, instance: str = "") -> Reply:
    """The whole answer to an error."""
    headers: Headers = [PROBLEM_JSON]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    elif isinstance(error, (RateLimited, Unavailable)):
        wait = error.retry_after if error.retry_after is not None else 1.0
        headers.append((b"retry-after", str(max(1, math.ceil(min(wait, 86_400)))).encode()))
    elif isinstance(error, NotAllowed):
        headers.append((b"allow", error.allow.encode()))
    elif isinstance(error, RangeOutside):
        headers.append((b"content-range", b"bytes */%d" % error.size))
    return Reply(error.status, headers, _encode(problem(error, entity, instance)))
