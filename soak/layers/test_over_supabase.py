"""Each layer alone, pairs of layers, and all of them with Redis, over Supabase."""

from __future__ import annotations

from tests.layers.conform.binding import Alone, EverythingShared, alone, backends, everything_shared, redis
from tests.supabase.conftest import another_stack, stack
from tests.supabase.layers.test_over_supabase import inner_backend, other_backend

from soak.layers.pairs import Pairs, pair

__all__ = [
    "alone",
    "another_stack",
    "backends",
    "everything_shared",
    "inner_backend",
    "other_backend",
    "pair",
    "redis",
    "stack",
]


class TestAlone(Alone):
    """Each layer by itself."""


class TestPairs(Pairs):
    """One layer around another."""


class TestShared(EverythingShared):
    """All layers, with Redis."""
