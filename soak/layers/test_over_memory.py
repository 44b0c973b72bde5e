"""Pairs of layers, over memory."""

from __future__ import annotations

from tests.layers.conform.test_over_memory import inner_backend, other_backend

from soak.layers.pairs import Pairs, pair

__all__ = ["inner_backend", "other_backend", "pair"]


class TestPairs(Pairs):
    """One layer around another."""
