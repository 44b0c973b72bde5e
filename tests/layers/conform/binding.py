"""Puts the table around a backend: a module that imports these fixtures gives `inner_backend` and `other_backend`, two backends that share nothing, for the whole module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.layers.conform.stacks import ALONE, EVERYTHING, AloneSuite, Pair, around

from interlock.contract import Backend
from interlock.testing.conformance import BackendConformance, ChangesConformance, Subject

__all__ = ["Alone", "Everything", "alone", "everything"]


@pytest.fixture(scope="module", params=ALONE)
async def alone(request: pytest.FixtureRequest, inner_backend: Backend, other_backend: Backend) -> AsyncIterator[Pair]:
    async with around(inner_backend, other_backend, ALONE[request.param]) as pair:
        yield pair


@pytest.fixture(scope="module", params=EVERYTHING)
async def everything(
    request: pytest.FixtureRequest, inner_backend: Backend, other_backend: Backend
) -> AsyncIterator[Pair]:
    async with around(inner_backend, other_backend, EVERYTHING[request.param]) as pair:
        yield pair


class Alone(AloneSuite):  # type: ignore[misc]  # it is one class or the other
    """Each layer by itself."""

    @pytest.fixture
    def subject(self, alone: Pair) -> Subject:
        return Subject(alone.one.backend)

    @pytest.fixture
    def another(self, alone: Pair) -> Subject:
        return alone.another


class Everything(BackendConformance, ChangesConformance):
    """All layers, and what the backend tells of changes while they watch too."""

    @pytest.fixture
    def subject(self, everything: Pair) -> Subject:
        return everything.one

    @pytest.fixture
    def another(self, everything: Pair) -> Subject:
        return everything.another
