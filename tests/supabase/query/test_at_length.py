"""Every reading test of the suite once more, with each question sent in a body to the database's own function."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.supabase.query.conftest import always_at_length, opened

from interlock.testing.conformance import Subject
from interlock.testing.conformance.filters import FiltersSuite
from interlock.testing.conformance.geo import GeoSuite
from interlock.testing.conformance.paging import PagingSuite
from interlock.testing.conformance.reads import ReadsSuite
from interlock.testing.conformance.searching import SearchSuite
from interlock.testing.conformance.sorting import SortingSuite


class TestAtLength(FiltersSuite, SearchSuite, SortingSuite, PagingSuite, ReadsSuite, GeoSuite):
    @pytest.fixture
    async def subject(self, stack: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Subject]:
        always_at_length(monkeypatch)
        async with opened(stack) as subject:
            yield subject
