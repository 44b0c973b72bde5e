"""Reports of unexpected errors: those that are none of Interlock's own, so that nobody foresaw them.

A report holds the errors' types, where they were raised, and a few words on the call. It holds no message, no variable, no body and nobody's name: any of them may
quote what a caller wrote.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from structlog.contextvars import get_contextvars

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError, Misconfigured
from interlock.log import get_logger
from interlock.observability.logs import frames_of

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport

__all__ = ["TAGS", "LoggedReports", "Reports", "SentryTracker", "Tracker"]

TAGS: Final = frozenset(
    {"where", "service", "operation", "resource", "backend", "epoch", "request", "method", "route", "number"}
)
"""What may be said of a call beside its error."""

_LONGEST_TAG: Final = 200
_FRAME: Final = ("module", "function", "filename", "lineno", "in_app")
_log = get_logger("interlock")
_EVENT: Final = ("event_id", "timestamp", "platform", "level", "environment", "release")


class Tracker(Protocol):
    """Takes reports. Called from the event loop: what takes time is its own affair. `aclose()`, where it has one, is awaited at the end."""

    def report(self, error: BaseException, tags: Mapping[str, str]) -> None:
        """An error that nobody foresaw, and words on the call that met it (`TAGS` has their names)."""
        ...


class Reports:
    """A layer that reports what nobody foresaw, and raises it again."""

    def __init__(self, inner: Backend, report: Callable[..., None], service: str, backend: str, epoch: int) -> None:
        self._inner = inner.handle
        self._report = report
        self._about = MappingProxyType({"service": service, "backend": backend, "epoch": str(epoch)})

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        try:
            return await self._inner(request)
        except InterlockError:
            raise
        except Exception as error:
            self._report(
                error,
                where="call",
                operation=request.verb,
                resource=request.resource,
                request=str(get_contextvars().get("request", "")),
                **self._about,
            )
            raise


class LoggedReports:
    """Logs reports: where nobody else takes them."""

    def report(self, error: BaseException, tags: Mapping[str, str]) -> None:
        """One line with the error's type, where it came from and the words on its call; its message may quote anything."""
        _log.error("unexpected error", error=type(error).__name__, at=frames_of(error.__traceback__), **tags)


class SentryTracker:
    """Sends reports to Sentry, or to what speaks as it does, with a client of its own: nothing global, no integrations, nothing collected by itself.

    `transport` replaces the one that sends to the DSN's host. Raises `Misconfigured` where the SDK is not installed, or the DSN is none.
    """

    def __init__(
        self, dsn: str, *, environment: str = "", release: str = "", transport: Transport | None = None
    ) -> None:
        try:
            import sentry_sdk
            from sentry_sdk.utils import BadDsn, event_from_exception
        except ImportError as error:
            raise Misconfigured(
                ["INTERLOCK_ERROR_TRACKING: sentry-sdk is not installed; install interlock[sentry] or set it to false"]
            ) from error
        try:
            self._client = sentry_sdk.Client(
                dsn=dsn,
                environment=environment or None,
                release=release or None,
                transport=transport,
                default_integrations=False,
                auto_enabling_integrations=False,
                auto_session_tracking=False,
                include_local_variables=False,
                include_source_context=False,
                max_request_body_size="never",
                max_breadcrumbs=0,
                server_name="interlock",
                propagate_traces=False,
                before_send=_only_what_is_known,
            )
        except BadDsn:
            raise Misconfigured(["INTERLOCK_SENTRY_DSN: is not a DSN; copy the project's DSN"]) from None
        self._event_of = event_from_exception
        self._scope = sentry_sdk.Scope

    def __repr__(self) -> str:
        return "SentryTracker(DSN hidden)"

    def report(self, error: BaseException, tags: Mapping[str, str]) -> None:
        """Hand the report to the SDK, whose thread sends it."""
        event, hint = self._event_of(error, client_options=self._client.options)
        event["tags"] = dict(tags)
        self._client.capture_event(event, hint=hint, scope=self._scope(client=self._client))

    async def aclose(self) -> None:
        """Send what is waiting, for two seconds at most."""
        await asyncio.to_thread(self._client.close, timeout=2.0)


def _only_what_is_known(event: Any, hint: Any) -> Any:
    """The report anew, of those parts alone that cannot quote a caller."""
    tags = {name: str(value)[:_LONGEST_TAG] for name, value in event.get("tags", {}).items() if name in TAGS and value}
    errors = [
        {
            "type": one.get("type"),
            "module": one.get("module"),
            "stacktrace": {
                "frames": [
                    {name: frame[name] for name in _FRAME if name in frame}
                    for frame in (one.get("stacktrace") or {}).get("frames", ())
                ]
            },
        }
        for one in event.get("exception", {}).get("values", ())
    ]
    return {
        **{name: event[name] for name in _EVENT if event.get(name)},
        "tags": tags,
        "exception": {"values": errors},
    }
