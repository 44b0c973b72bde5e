"""Reports of unexpected errors, through Sentry's own SDK."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import pytest
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport
from structlog.testing import capture_logs
from tests.observability.test_metrics import Answers, asked

from interlock.errors import Misconfigured, NotFound, Unavailable
from interlock.observability import Observability, SentryTracker
from interlock.observability.tracking import LoggedReports

pytestmark = pytest.mark.anyio

DSN = "https://0123456789abcdef0123456789abcdef@sentry.example.test/1"


class RecordedEnvelopes(Transport):
    """In the place of the transport that sends."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    @property
    def texts(self) -> str:
        return b"\n".join(envelope.serialize() for envelope in self.envelopes).decode()


def broken(name: str) -> Exception:
    """Two errors, one because of the other, with words and variables that are somebody's."""
    password = f"password of {name}"
    try:
        try:
            raise KeyError(f"{name} and {password}")
        except KeyError as error:
            raise ValueError(f"no such {name}") from error
    except ValueError as error:
        return error


async def test_a_report_has_types_and_places_and_nothing_that_was_said() -> None:
    sent = RecordedEnvelopes()
    tracker = SentryTracker(DSN, environment="test", release="0.1.0", transport=sent)
    watched = Observability(tracker=tracker)
    around = watched.meter_for("customers", "sql", 3)
    assert around is not None
    with pytest.raises(ValueError, match="Ada"):
        await around(Answers(broken("Ada"))).handle(asked())
    (envelope,) = sent.envelopes
    event = envelope.get_event()
    assert event is not None
    assert {"exception", "tags", "environment", "release", "level", "timestamp", "event_id", "platform"} >= set(event)
    assert event["tags"] == {
        "where": "call",
        "service": "customers",
        "operation": "get",
        "resource": "customers",
        "backend": "sql",
        "epoch": "3",
    }
    found = event["exception"]["values"]
    assert [one["type"] for one in found] == ["KeyError", "ValueError"]
    assert {key for one in found for key in one} == {"type", "module", "stacktrace"}
    frames = found[1]["stacktrace"]["frames"]
    assert frames[-1]["function"] == "broken"
    assert {key for frame in frames for key in frame} <= {"module", "function", "filename", "lineno", "in_app"}
    for word in ("Ada", "password of", "user-1", "tenant-1", DSN.split("//")[1].split("@")[0]):
        assert word not in sent.texts, word
    await watched.aclose()


def test_an_error_is_reported_once_and_only_if_nobody_foresaw_it() -> None:
    sent = RecordedEnvelopes()
    watched = Observability(tracker=SentryTracker(DSN, transport=sent))
    error = broken("Ada")
    for where in ("call", "gateway"):
        watched.report(error, where=where)
    watched.report(NotFound("customers", "r-1"), where="gateway")
    watched.report(Unavailable("away"), where="gateway")
    watched.report(KeyboardInterrupt(), where="gateway")
    assert len(sent.envelopes) == 1
    assert watched.get_metrics().unforeseen == 1


def test_tags_that_are_not_known_are_left_out() -> None:
    sent = RecordedEnvelopes()
    tracker = SentryTracker(DSN, transport=sent)
    tracker.report(broken("Ada"), {"route": "/api/v1/{resource}", "email": "ada@example.test"})
    event = sent.envelopes[0].get_event()
    assert event is not None
    assert event["tags"] == {"route": "/api/v1/{resource}"}


def test_nothing_global_is_set_up() -> None:
    SentryTracker(DSN, transport=RecordedEnvelopes())
    assert not sentry_sdk.get_client().is_active()


def test_a_tracker_that_fails_fails_nobody_else() -> None:
    class Fails:
        def report(self, error: BaseException, tags: Mapping[str, str]) -> None:
            raise OSError("Ada")

    watched = Observability(tracker=Fails())
    with capture_logs() as lines:
        watched.report(broken("Ada"), where="call")
    assert [(line["event"], line["error"]) for line in lines] == [("an error was not reported", "OSError")]


def test_without_a_project_reports_are_lines_of_the_log() -> None:
    with capture_logs() as lines:
        LoggedReports().report(broken("Ada"), {"service": "customers"})
    (line,) = lines
    assert (line["error"], line["service"], line["log_level"]) == ("ValueError", "customers", "error")
    assert "Ada" not in str(line)


def test_what_is_no_dsn_is_refused_and_not_repeated() -> None:
    with pytest.raises(Misconfigured, match="INTERLOCK_SENTRY_DSN") as raised:
        SentryTracker("https://hunter2.example.test")
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(SentryTracker(DSN, transport=RecordedEnvelopes()))


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)
    with pytest.raises(Misconfigured, match=r"interlock\[sentry\]"):
        SentryTracker(DSN)
