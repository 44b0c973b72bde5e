"""Logs: one JSON object a line, without what callers write.

What is logged are words of the program's own, codes, numbers and names of services. As a net below that, every text that goes out is looked through
for e-mail addresses, tokens and passwords in addresses; and an exception is logged as its type and where it was raised, since its message may quote anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from structlog.contextvars import get_contextvars
from structlog.typing import EventDict, WrappedLogger

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError, Misconfigured
from interlock.layers.meter import outcome_of
from interlock.log import get_logger

__all__ = ["CallLog", "TenantNames", "configure", "frames_of", "log_unhandled", "named_operation", "scrubbed"]

_KEY_BYTES: Final = 32
_REMEMBERED: Final = 10_000
_HIDDEN: Final = "[hidden]"
_SECRET: Final = re.compile(
    r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+"  # an e-mail address
    r"|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # a token
    r"|(?<=://)[^/\s:@]*:[^/\s@]*(?=@)"  # user and password in an address
    r"|(?<=Bearer )[\w.~+/=-]+",
    re.IGNORECASE,
)
_OPERATION: Final = re.compile(r"[0-9a-fA-F-]{16,64}")


def configure(level: int, stream: TextIO | None = None) -> None:
    """Log to the stream, standard error if none is given; also what libraries log by Python's own `logging`."""
    out = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_messages,
            _scrub,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, _FromLibraries):
            root.removeHandler(handler)
    root.addHandler(_FromLibraries())
    root.setLevel(max(level, logging.WARNING))


def log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For `loop.set_exception_handler`: an error that reached nobody, by its type and place."""
    error = context.get("exception")
    structlog.get_logger("interlock").error(
        "unhandled",
        error=type(error).__name__ if isinstance(error, BaseException) else "",
        at=frames_of(error.__traceback__) if isinstance(error, BaseException) else [],
    )


def frames_of(trace: TracebackType | None, most: int = 8) -> list[str]:
    """Where an error came from: the file and line of each of the last frames."""
    frames = []
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}")
        trace = trace.tb_next
    return frames[-most:]


def scrubbed(value: Any) -> Any:
    """The value without e-mail addresses, tokens and passwords in addresses, however deep they are."""
    if isinstance(value, str):
        return _SECRET.sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {scrubbed(key): scrubbed(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [scrubbed(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return scrubbed(str(value))


def named_operation(operation_id: str) -> str:
    """An operation id as it may be logged: callers choose it, so one that isn't made of hexadecimal digits is told by its hash."""
    if not operation_id or _OPERATION.fullmatch(operation_id):
        return operation_id
    return f"hash:{hashlib.blake2b(operation_id.encode(), digest_size=8).hexdigest()}"


def _scrub(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {key: scrubbed(value) for key, value in event.items()}


def _without_messages(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """An exception is told by its type and place."""
    info = event.pop("exc_info", None)
    if info:
        error = info if isinstance(info, BaseException) else sys.exc_info()[1]
        if isinstance(info, tuple):
            error = info[1]
        if error is not None:
            event["error"] = type(error).__name__
            event["at"] = frames_of(error.__traceback__)
    return event


class _FromLibraries(logging.Handler):
    """What a library logs: its text where it was written without values, else only where it was logged, since a text made by then may quote anything."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it our way."""
        error = record.exc_info[1] if record.exc_info else None
        template = record.msg if record.args and isinstance(record.msg, str) else f"{record.module}:{record.lineno}"
        more = {} if error is None else {"error": type(error).__name__, "at": frames_of(error.__traceback__)}
        structlog.get_logger("interlock").log(
            min(record.levelno, logging.CRITICAL), "library", logger=record.name, text=template, **more
        )


class TenantNames:
    """Names for tenants that only who has the installation's key can tell: the same in every line, and of no use elsewhere."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    @classmethod
    def from_directory(cls, directory: Path) -> TenantNames:
        """With the key of the folder, made at the first time. Raises `Misconfigured` for one that is no key."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = directory / "logs.key"
        if not path.exists():
            new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            new.touch(mode=0o600)
            new.write_bytes(secrets.token_bytes(_KEY_BYTES))
            try:
                path.hardlink_to(new)  # unlike a rename it leaves the key that another process has just made
            except FileExistsError:
                pass
            finally:
                new.unlink()
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise Misconfigured([f"{path}: is not a key of {_KEY_BYTES} bytes; restore it, or delete it"])
        return cls(key)

    def of(self, tenant_id: str) -> str:
        """The tenant's name in the logs."""
        name = self._known.get(tenant_id)
        if name is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            digest = hashlib.blake2b(tenant_id.encode(), key=self._key, digest_size=8).hexdigest()
            name = self._known[tenant_id] = digest
        return name


class CallLog:
    """Logs each call: who (the tenant's name in the logs), what, where, how it ended and how long it took; nothing of what was sent or answered."""

    def __init__(self, inner: Backend, tenants: TenantNames, service: str, backend: str, epoch: int) -> None:
        self._inner = inner.handle
        self._tenants = tenants
        self._log = get_logger("interlock.calls").bind(service=service, backend=backend, epoch=epoch)

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        began = perf_counter()
        try:
            answer = await self._inner(request)
        except BaseException as error:
            self._tell(request, began, outcome_of(error), error)
            raise
        failed = answer.outcomes[0].error if answer.outcomes else None
        if failed is not None and all(one.error for one in answer.outcomes):
            self._tell(request, began, outcome_of(failed), failed)
        else:
            self._tell(request, began, "ok", None, cached=answer.cached, stale=answer.stale)
        return answer

    def _tell(self, request: Request, began: float, outcome: str, error: BaseException | None, **more: bool) -> None:
        code = error.code if isinstance(error, InterlockError) else "" if error is None else type(error).__name__
        self._log.info(
            "call",
            request=get_contextvars().get("request", ""),
            tenant=self._tenants.of(request.identity.tenant_id),
            operation=request.verb,
            resource=request.resource,
            operation_id=named_operation(request.operation_id),
            outcome=outcome,
            error=code,
            seconds=round(perf_counter() - began, 6),
            **more,
        )
