"""A backend around which nothing is told to go wrong is that backend: memory, wrapped, passes the whole suite."""

from __future__ import annotations

import pytest

from interlock.backends.memory import MemoryBackend
from interlock.entities import ENTITIES
from interlock.testing.conformance import (
    BackendConformance,
    ChangesConformance,
    FilesConformance,
    ForwardingConformance,
    ProbesConformance,
    Subject,
)
from interlock.testing.faults import Faults, Rates
from interlock.testing.samples import TEST_ENTITIES


def wrapped() -> Subject:
    return Subject(Faults(MemoryBackend((*ENTITIES, *TEST_ENTITIES)), Rates()))


class TestFaultsAtRest(
    BackendConformance,
    ChangesConformance,
    FilesConformance,
    ForwardingConformance,
    ProbesConformance,
):
    @pytest.fixture
    def subject(self) -> Subject:
        return wrapped()

    @pytest.fixture
    def another(self) -> Subject:
        return wrapped()
