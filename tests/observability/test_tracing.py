"""Spans by OpenTelemetry's conventions, and the trace that is carried on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tests.observability.listening import Listener, listening
from tests.observability.test_metrics import CALLER, Answers, asked
from tests.running import free_ports

from interlock.contract import Outcome, Response
from interlock.errors import Conflict, Misconfigured, Unavailable
from interlock.http import Call, open_engine
from interlock.observability import Observability

pytestmark = pytest.mark.anyio

CALLERS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def watched(spans: InMemorySpanExporter) -> Observability:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Observability(metrics=False, tracing=True, tracer_provider=provider)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as found:
        yield found


def only(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


async def test_a_call_is_a_span_that_names_its_backend(watched: Observability, spans: InMemorySpanExporter) -> None:
    around = watched.meter_for("customers", "sql", 7)
    assert around is not None
    await around(Answers()).handle(asked("find"))
    span = only(spans)
    assert span.name == "find customers"
    assert dict(span.attributes or {}) == {
        "interlock.service": "customers",
        "interlock.backend": "sql",
        "interlock.epoch": 7,
        "interlock.operation": "find",
        "interlock.resource": "customers",
        "interlock.outcome": "ok",
        "interlock.cached": False,
        "feature_flag.key": "customers.backend",
        "feature_flag.provider.name": "interlock",
        "feature_flag.result.variant": "sql",
    }
    assert CALLER.tenant_id not in span.to_json()


@pytest.mark.parametrize(
    ("answer", "outcome", "error", "status"),
    [
        (Unavailable("quotes a caller"), "unavailable", "unavailable", StatusCode.ERROR),
        (ValueError("quotes a caller"), "internal", "ValueError", StatusCode.ERROR),
        (Response(outcomes=(Outcome("r", error=Conflict("c", "r", 1)),)), "rejected", "conflict", StatusCode.UNSET),
    ],
)
async def test_a_span_tells_how_a_call_failed_and_not_with_which_words(
    watched: Observability,
    spans: InMemorySpanExporter,
    answer: Response | Exception,
    outcome: str,
    error: str,
    status: StatusCode,
) -> None:
    around = watched.meter_for("customers", "sql")
    assert around is not None
    if isinstance(answer, Exception):
        with pytest.raises(type(answer)):
            await around(Answers(answer)).handle(asked("update"))
    else:
        await around(Answers(answer)).handle(asked("update"))
    span = only(spans)
    attributes = span.attributes or {}
    assert (attributes["interlock.outcome"], attributes["error.type"]) == (outcome, error)
    assert (span.status.status_code, span.status.description) == (status, None)
    assert not span.events
    assert "quotes" not in span.to_json()


async def test_a_request_goes_on_with_its_callers_trace(watched: Observability, spans: InMemorySpanExporter) -> None:
    with watched.request("GET", {"traceparent": CALLERS}) as request:
        request.route, request.status = "/api/v1/{resource}", 503
    span = only(spans)
    assert (span.name, span.kind) == ("GET /api/v1/{resource}", SpanKind.SERVER)
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == CALLERS.split("-")[1]
    attributes = span.attributes or {}
    assert (attributes["http.route"], attributes["http.response.status_code"]) == ("/api/v1/{resource}", 503)
    assert span.status.status_code is StatusCode.ERROR


async def test_the_trace_is_sent_on_and_the_address_is_kept(
    watched: Observability, spans: InMemorySpanExporter, listener: Listener
) -> None:
    engine = watched.traced_engine(open_engine())
    try:
        with watched.request("POST", {"traceparent": CALLERS}):
            reply = await engine.send(Call("POST", f"http://127.0.0.1:{listener.port}/customers/r-1?q=Ada", body=b"{}"))
            async with engine.stream(Call("POST", f"http://127.0.0.1:{listener.port}/x", body=b"{}")) as streamed:
                assert b"".join([chunk async for chunk in streamed.chunks]) == b"{}"
    finally:
        await engine.aclose()
    assert reply.status == 200
    sent, streaming, _ = spans.get_finished_spans()
    assert sent.context is not None
    assert streaming.context is not None
    assert f"00-{sent.context.trace_id:032x}-{sent.context.span_id:016x}-01" in listener.headers[0]
    assert f"{streaming.context.span_id:016x}" in listener.headers[1]
    assert f"{sent.context.trace_id:032x}" == CALLERS.split("-")[1]
    assert sent.kind is SpanKind.CLIENT
    assert dict(sent.attributes or {}) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": listener.port,
        "url.scheme": "http",
        "http.response.status_code": 200,
    }
    assert "Ada" not in sent.to_json()
    assert "r-1" not in sent.to_json()


async def test_a_server_that_is_not_there_is_an_error_of_the_span(
    watched: Observability, spans: InMemorySpanExporter
) -> None:
    (port,) = free_ports(1)
    engine = watched.traced_engine(open_engine())
    with pytest.raises(Unavailable):
        await engine.send(Call("GET", f"http://127.0.0.1:{port}/customers"))
    await engine.aclose()
    attributes = only(spans).attributes or {}
    assert attributes["error.type"] == "unavailable"


async def test_without_tracing_the_engine_is_as_it_was() -> None:
    engine = open_engine()
    assert Observability().traced_engine(engine) is engine
    await engine.aclose()


def test_nothing_global_is_set(watched: Observability) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def test_tracing_without_its_library_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "interlock.observability.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(Misconfigured, match=r"interlock\[otel\]"):
        Observability(tracing=True)
