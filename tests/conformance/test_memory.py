"""The memory backend, the reference, passes the suite without a gap."""

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
from interlock.testing.samples import TEST_ENTITIES


def memory() -> Subject:
    return Subject(MemoryBackend((*ENTITIES, *TEST_ENTITIES)))


class TestMemory(
    BackendConformance,
    ChangesConformance,
    FilesConformance,
    ForwardingConformance,
    ProbesConformance,
):
    @pytest.fixture
    def subject(self) -> Subject:
        return memory()

    @pytest.fixture
    def another(self) -> Subject:
        return memory()
