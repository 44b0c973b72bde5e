"""The layers that watch change no answer: all of them around one backend pass the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs

from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES
from interlock.observability import Observability
from interlock.observability.tracking import LoggedReports
from interlock.testing.conformance import BackendConformance, Subject
from interlock.testing.samples import TEST_ENTITIES


def watched(keys: Path) -> Subject:
    """A memory behind the meter, reports, the log of calls and spans."""
    every = Observability(
        log_calls=True,
        keys=keys,
        tracing=True,
        tracer_provider=TracerProvider(shutdown_on_exit=False),
        tracker=LoggedReports(),
    )
    around = every.meter_for("customers", "mock")
    assert around is not None
    return Subject(around(MemoryBackend((*ENTITIES, *TEST_ENTITIES))))


class TestWatchedMemory(BackendConformance):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[Subject]:
        with capture_logs():
            yield watched(tmp_path)

    @pytest.fixture
    def another(self, tmp_path: Path) -> Subject:
        return watched(tmp_path)
