"""What the application holds to be watched by: metrics, and on request logs of calls, traces and reports of unexpected errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from structlog.contextvars import bound_contextvars, get_contextvars

from interlock.abilities import Closes
from interlock.contract import Backend
from interlock.errors import InterlockError, Misconfigured
from interlock.http.engine import Engine
from interlock.identifiers import new_id
from interlock.layers.meter import Meter, Role
from interlock.log import get_logger
from interlock.observability.logs import CallLog, TenantNames
from interlock.observability.metrics import Metrics, Recorder
from interlock.observability.tracking import Reports, Tracker

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer, TracerProvider

    from interlock.observability.tracing import Tracing

__all__ = ["Observability", "WatchedRequest"]

Around = Callable[[Backend], Backend]

_REQUEST_ID: Final = re.compile(r"[0-9a-fA-F-]{16,64}")
"""What a caller may name its request; anything else might be somebody's name."""

_REPORTED: Final = "__interlock_reported__"

_log = get_logger("interlock")


class Observability:
    """One for each application: nothing of it is shared within the process. `aclose` sends what is waiting.

    `metrics` counts calls, `log_calls` logs each (`keys` is then the folder of the installation's keys), `tracing` makes spans (for
    `tracer_provider`, if one is given), `tracker` is told of unexpected errors. What is off costs a call nothing. Raises `Misconfigured` for what is not installed.
    """

    def __init__(
        self,
        *,
        metrics: bool = True,
        log_calls: bool = False,
        tracing: bool = False,
        tracker: Tracker | None = None,
        keys: Path | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self.recorder = Recorder()
        self.tracker = tracker
        self._metrics = metrics
        self._tenants: TenantNames | None = None
        self._tracing: Tracing | None = None
        if log_calls:
            if keys is None:
                raise Misconfigured(["INTERLOCK_LOG_CALLS: the tenants' names in the logs need a key; give its folder"])
            self._tenants = TenantNames.from_directory(keys)
        if tracing:
            self._tracing = _tracing(tracer_provider)

    # -- calls ----------------------------------------------------------------------------------------------------

    def meter_for(self, service: str, backend: str, epoch: int = 0, *, role: Role = "primary") -> Around | None:
        """What is put around the layers of a route; None where nothing is to be watched."""
        around: list[Around] = []
        if self._metrics:
            counts = self.recorder.counts(service, backend, role)
            around.append(lambda inner: Meter(inner, counts))
        if self.tracker is not None:
            around.append(lambda inner: Reports(inner, self.report, service, backend, epoch))
        tenants, tracer = self._tenants, self.tracer
        if tenants is not None:
            around.append(lambda inner: CallLog(inner, tenants, service, backend, epoch))
        if tracer is not None:
            around.append(_traced(tracer, service, backend, epoch))
        return _together(around)

    @property
    def tracer(self) -> Tracer | None:
        """What makes spans, None where nothing is traced."""
        return None if self._tracing is None else self._tracing.tracer

    def traced_engine(self, engine: Engine) -> Engine:
        """The engine, its calls traced and carrying the trace on; the same engine where nothing is traced."""
        tracer = self.tracer
        if tracer is None:
            return engine
        from interlock.http.traced import TracedEngine

        return TracedEngine(engine, tracer)

    # -- requests of the gateway ----------------------------------------------------------------------------------

    @property
    def watches_requests(self) -> bool:
        """Whether `request` does anything."""
        return self._tenants is not None or self._tracing is not None or self.tracker is not None

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[WatchedRequest]:
        """Around one request: what is logged, traced and reported within has its id, the caller's own (`x-request-id`) if it is one. Names are in small letters."""
        given = headers.get("x-request-id", "")
        request = WatchedRequest(given if _REQUEST_ID.fullmatch(given) else new_id())
        began = perf_counter()
        with bound_contextvars(request=request.id):
            if self._tracing is None:
                yield request
            else:
                with self._tracing.request(method, headers) as span:
                    yield request
                    self._tracing.answered(span, method, request.route, request.status)
            if self._tenants is not None:
                _log.info(
                    "request",
                    method=method,
                    route=request.route,
                    status=request.status,
                    seconds=round(perf_counter() - began, 6),
                )

    # -- errors ---------------------------------------------------------------------------------------------------

    def report(self, error: BaseException, **tags: str) -> None:
        """Report an error that nobody foresaw, once however often it is met. Interlock's own errors, and whoever leaves, are expected."""
        if isinstance(error, InterlockError) or not isinstance(error, Exception) or hasattr(error, _REPORTED):
            return
        setattr(error, _REPORTED, True)
        self.recorder.unforeseen(tags.get("where", ""))
        if self.tracker is None:
            return
        tags.setdefault("request", str(get_contextvars().get("request", "")))
        try:
            self.tracker.report(error, tags)
        except Exception as failure:  # noqa: BLE001 - whatever fails in reporting must not fail the call
            _log.warning("an error was not reported", error=type(failure).__name__)

    # -- asking and ending ----------------------------------------------------------------------------------------

    def get_metrics(self) -> Metrics:
        """Everything counted so far."""
        return self.recorder.snapshot()

    async def aclose(self) -> None:
        """Send what is waiting to be sent. Closing twice does nothing more."""
        tracing, tracker = self._tracing, self.tracker
        self._tracing = self.tracker = None
        if tracing is not None:
            await tracing.aclose()
        if isinstance(tracker, Closes):
            await tracker.aclose()


class WatchedRequest:
    """A request that is being answered. Whoever answers it says which route it took and with which status it ended."""

    __slots__ = ("id", "route", "status")

    def __init__(self, id: str) -> None:
        self.id = id
        self.route = ""
        self.status = 500


def _together(around: list[Around]) -> Around | None:
    """The layers as one, the first of them innermost."""

    def build(inner: Backend) -> Backend:
        for layer in around:
            inner = layer(inner)
        return inner

    return build if around else None


def _traced(tracer: Tracer, service: str, backend: str, epoch: int) -> Around:
    from interlock.observability.tracing import Traced

    return lambda inner: Traced(inner, tracer, service, backend, epoch)


def _tracing(provider: Any) -> Tracing:
    try:
        from interlock.observability.tracing import Tracing
    except ModuleNotFoundError as error:
        if str(error.name).startswith("interlock"):
            raise
        raise Misconfigured(
            ["INTERLOCK_TRACING: OpenTelemetry is not installed; install interlock[otel] or set it to false"]
        ) from error
    return Tracing(provider)
