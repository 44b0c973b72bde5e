"""An engine whose calls are spans of OpenTelemetry's, and carry the trace on to the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import msgspec
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from interlock.errors import InterlockError
from interlock.http.engine import Call, Engine, Reply, StreamedReply

__all__ = ["TracedEngine"]


class TracedEngine:
    """Puts a span around each call, and its `traceparent` into the call's headers. A span names the server, never the path or the query: they hold ids and values."""

    def __init__(self, inner: Engine, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer
        self._carried = TraceContextTextMapPropagator()

    async def send(self, call: Call) -> Reply:
        """The reply, wholly read."""
        with self._span(call) as (span, sent):
            reply = await self._inner.send(sent)
            _answered(span, reply.status)
            return reply

    def stream(self, call: Call) -> AbstractAsyncContextManager[StreamedReply]:
        """The reply as it comes; the span ends with it."""
        return self._streamed(call)

    @asynccontextmanager
    async def _streamed(self, call: Call) -> AsyncIterator[StreamedReply]:
        with self._span(call) as (span, sent):
            async with self._inner.stream(sent) as reply:
                _answered(span, reply.status)
                yield reply

    async def aclose(self) -> None:
        """Close every connection. Closing twice does nothing more."""
        await self._inner.aclose()

    @contextmanager
    def _span(self, call: Call) -> Iterator[tuple[Span, Call]]:
        server = urlsplit(call.url)
        port = server.port or (443 if server.scheme == "https" else 80)
        with self._tracer.start_as_current_span(
            call.method,
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": call.method,
                "server.address": server.hostname or "",
                "server.port": port,
                "url.scheme": server.scheme,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            headers = dict(call.headers)
            self._carried.inject(headers)
            try:
                yield span, msgspec.structs.replace(call, headers=headers)
            except BaseException as error:
                span.set_attribute(
                    "error.type", error.code if isinstance(error, InterlockError) else type(error).__qualname__
                )
                span.set_status(Status(StatusCode.ERROR))
                raise


def _answered(span: Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 400:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))
