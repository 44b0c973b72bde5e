"""Traces, by OpenTelemetry's conventions: a span for each request of the gateway, each call of a service, and each HTTP call of a backend.

They carry W3C's `traceparent` from the caller of the gateway to the API behind it. No span holds a tenant, a user, an id, an address with its query, or an error's message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from interlock.contract import Backend, Request, Response
from interlock.errors import InterlockError, Misconfigured
from interlock.layers.meter import outcome_of

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as OwnProvider

__all__ = ["Traced", "Tracing"]


class Tracing:
    """Makes the spans. They go to the provider that is given, else to the program's own, else to the one that `OTEL_*` variables describe."""

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._own: OwnProvider | None = None
        if provider is None and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            provider = self._own = _by_environment()
        self.tracer: Tracer = trace.get_tracer("interlock", version("interlock"), tracer_provider=provider)
        self._carried = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of a request to the gateway, within its caller's where the headers name one."""
        with self.tracer.start_as_current_span(
            method,
            context=self._carried.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.scheme": "http"},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def answered(self, span: Span, method: str, route: str, status: int) -> None:
        """What has become of a request."""
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))

    async def aclose(self) -> None:
        """Send what is waiting, where the provider is our own."""
        if self._own is not None:
            await asyncio.to_thread(self._own.shutdown)


class Traced:
    """A layer that makes a span of each call. Which backend serves is told in the words for feature flags."""

    def __init__(self, inner: Backend, tracer: Tracer, service: str, backend: str, epoch: int) -> None:
        self._inner = inner.handle
        self._tracer = tracer
        self._about: dict[str, str | int] = {
            "interlock.service": service,
            "interlock.backend": backend,
            "interlock.epoch": epoch,
            "feature_flag.key": f"{service}.backend",
            "feature_flag.provider.name": "interlock",
            "feature_flag.result.variant": backend,
        }

    async def handle(self, request: Request) -> Response:
        """The inner answer."""
        with self._tracer.start_as_current_span(
            f"{request.verb} {request.resource}",
            attributes={**self._about, "interlock.operation": request.verb, "interlock.resource": request.resource},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                answer = await self._inner(request)
            except BaseException as error:
                _failed(span, error)
                raise
            failed = answer.outcomes[0].error if answer.outcomes else None
            if failed is not None and all(one.error for one in answer.outcomes):
                _failed(span, failed)
            else:
                span.set_attribute("interlock.outcome", "ok")
                span.set_attribute("interlock.cached", answer.cached)
            return answer


def _failed(span: Span, error: BaseException) -> None:
    outcome = outcome_of(error)
    span.set_attribute("interlock.outcome", outcome)
    span.set_attribute("error.type", error.code if isinstance(error, InterlockError) else type(error).__qualname__)
    if outcome != "rejected":
        span.set_status(Status(StatusCode.ERROR))


def _by_environment() -> Any:
    """A provider that sends to where OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_ENDPOINT` and the others)."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider as Provider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Misconfigured(
            ["INTERLOCK_TRACING: OpenTelemetry is not installed; install interlock[otel] or set it to false"]
        ) from error
    resource = Resource.create({SERVICE_NAME: "interlock"}).merge(OTELResourceDetector().detect())
    provider = Provider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
