"""Two layers, one around the other as the product has them: all pairs over memory, and over each other backend those that the seed draws."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest
from tests.layers.conform.binding import Backends
from tests.layers.conform.stacks import ALONE, Layer, Pair, around

from interlock.abilities import Closes
from interlock.contract import Backend
from interlock.testing.conformance import BackendConformance, Subject

__all__ = ["Pairs", "drawn", "pair"]

PAIRS: Final = tuple(itertools.combinations(ALONE, 2))
"""The inner layer and the outer one: the table has them in the product's order."""
OF_EACH_BACKEND: Final = 4


def drawn(backend: str) -> Sequence[tuple[str, str]]:
    """The pairs of this run over a backend."""
    if backend == "memory":
        return PAIRS
    return random.Random(f"{os.environ.get('SOAK_SEED', '1')} {backend}").sample(PAIRS, OF_EACH_BACKEND)


class _Nested:
    def __init__(self, outer: Layer, inner: Layer, backend: Backend) -> None:
        self.inside = inner.wrap(backend)
        self.outside = outer.wrap(self.inside)
        self.handle = self.outside.handle

    async def aclose(self) -> None:
        for layer in (self.outside, self.inside):
            if isinstance(layer, Closes):
                await layer.aclose()


@pytest.fixture(scope="module")
async def pair(request: pytest.FixtureRequest, backends: Backends) -> AsyncIterator[Pair]:
    inner, outer = (ALONE[name] for name in request.param)

    def worked(nested: Any) -> bool:
        return bool(outer.worked(nested.outside) and inner.worked(nested.inside))

    async with around(*backends(), Layer(lambda backend: _Nested(outer, inner, backend), worked)) as both:
        yield both


class Pairs(BackendConformance):
    """One layer around another."""

    @pytest.fixture
    def subject(self, pair: Pair) -> Subject:
        return Subject(pair.one.backend)

    @pytest.fixture
    def another(self, pair: Pair) -> Subject:
        return pair.another
