"""Pairs of layers, over memory."""

from __future__ import annotations

from tests.layers.conform.test_over_memory import backends

from soak.layers.pairs import Pairs, pair

__all__ = ["backends", "pair"]


class TestPairs(Pairs):
    """One layer around another."""
