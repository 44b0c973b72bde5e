"""The errors that leave Interlock, and no others.

::

    InterlockError
     ├─ Invalid             the input is wrong; `fields` says where and how to mend it
     ├─ Unauthenticated     nobody is logged in, or the token is not (or no longer) good
     ├─ Forbidden           somebody is logged in, and their role may not do this
     ├─ NotFound            no such record in this tenant
     ├─ Conflict            the record is not at the expected version; `current` is the record
     ├─ Duplicate           another record has this unique value; `field` and `existing_id` name it
     ├─ RateLimited         too many calls; `retry_after` seconds
     ├─ Unavailable         the backend did not answer, or not sensibly; nothing is known to be written
     ├─ DeadlineExceeded    the caller's deadline passed
     ├─ OutcomeUnknown      a write was sent and its outcome is not known; `operation_id` finds it
     ├─ Unsupported         this backend cannot do what was asked; nothing was sent
     └─ Misconfigured       the configuration is wrong; `problems` lists every variable and its mend

Each backend maps its native errors to these in one place, with the native error as `__cause__`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

__all__ = [
    "Conflict",
    "DeadlineExceeded",
    "Duplicate",
    "Forbidden",
    "InterlockError",
    "Invalid",
    "Misconfigured",
    "NotFound",
    "OutcomeUnknown",
    "RateLimited",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
]


class InterlockError(Exception):
    """The root of every error that leaves the package.

    `code` is the stable name on the wire, `status` the HTTP status that the gateway answers with.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Invalid(InterlockError):
    """The input is wrong.

    `fields` maps the name of each bad field (snake_case, dotted for a nested one) to what is wrong and how to mend it.
    """

    code = "invalid"
    status = 400

    def __init__(self, fields: Mapping[str, str], message: str | None = None) -> None:
        super().__init__(message or "; ".join(f"{name}: {text}" for name, text in fields.items()))
        self.fields = dict(fields)


class Unauthenticated(InterlockError):
    """Nobody is logged in, or the token is not, or no longer, good."""

    code = "unauthenticated"
    status = 401

    def __init__(self, message: str = "log in first") -> None:
        super().__init__(message)


class Forbidden(InterlockError):
    """The caller's role may not do this."""

    code = "forbidden"
    status = 403


class NotFound(InterlockError):
    """There is no such record in this tenant. A record of another tenant is not found either."""

    code = "not_found"
    status = 404

    def __init__(self, resource: str, id: str) -> None:
        super().__init__(f"{resource}: no record {id!r}")
        self.resource = resource
        self.id = id


class Conflict(InterlockError):
    """The record is not at the expected version. `current` is the record as it stands, None where it is not known."""

    code = "conflict"
    status = 412

    def __init__(self, resource: str, id: str, expected_version: int | None, current: Any = None) -> None:
        found = getattr(current, "version", None)
        at = f"at version {found}" if found is not None else "at another version"
        super().__init__(f"{resource} {id}: expected version {expected_version}, and it is {at}; read it again")
        self.resource = resource
        self.id = id
        self.expected_version = expected_version
        self.current = current


class Duplicate(InterlockError):
    """Another undeleted record of the tenant has this unique value."""

    code = "duplicate"
    status = 409

    def __init__(self, resource: str, field: str, existing_id: str | None = None) -> None:
        of = f" (record {existing_id})" if existing_id else ""
        super().__init__(f"{resource}: another record has this {field}{of}; use another value")
        self.resource = resource
        self.field = field
        self.existing_id = existing_id


class RateLimited(InterlockError):
    """Too many calls. Try again in `retry_after` seconds."""

    code = "rate_limited"
    status = 429

    def __init__(self, message: str = "too many calls", retry_after: float = 1.0) -> None:
        super().__init__(f"{message}; try again in {retry_after:g} s")
        self.retry_after = retry_after


class Unavailable(InterlockError):
    """The backend did not answer, or not sensibly. Where `retry_after` is known it is in seconds."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(InterlockError):
    """The caller's deadline passed before the answer came."""

    code = "deadline_exceeded"
    status = 504

    def __init__(self, message: str = "the deadline passed before the answer came") -> None:
        super().__init__(message)


class OutcomeUnknown(InterlockError):
    """A write was sent and the connection broke before its outcome came.

    The same call with the same `operation_id` finds the outcome out and never writes twice.
    """

    code = "outcome_unknown"
    status = 502

    def __init__(self, operation_id: str, message: str = "the write was sent and its outcome is not known") -> None:
        super().__init__(f"{message}; call again with operation id {operation_id}")
        self.operation_id = operation_id


class Unsupported(InterlockError):
    """This backend cannot do what was asked. Nothing was sent."""

    code = "unsupported"
    status = 501

    def __init__(self, backend: str, what: str) -> None:
        super().__init__(f"the backend {backend!r} cannot do this: {what}")
        self.backend = backend
        self.what = what


class Misconfigured(InterlockError):
    """The configuration is wrong. `problems` holds one line for each variable: its name, what is wrong, the mend."""

    code = "misconfigured"
    status = 500

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
