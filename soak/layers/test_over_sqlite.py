"""Each layer alone, pairs of layers, and all of them with Redis, over sql on SQLite."""

from __future__ import annotations

from tests.layers.conform.binding import Alone, EverythingShared, alone, backends, everything_shared, redis
from tests.layers.conform.test_over_sqlite import inner_backend, other_backend

from soak.layers.pairs import Pairs, pair

__all__ = ["alone", "backends", "everything_shared", "inner_backend", "other_backend", "pair", "redis"]


class TestAlone(Alone):
    """Each layer by itself."""


class TestPairs(Pairs):
    """One layer around another."""


class TestShared(EverythingShared):
    """All layers, with Redis."""
