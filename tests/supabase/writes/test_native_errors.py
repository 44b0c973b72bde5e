"""Whatever stands where the project should, each of its answers becomes one error of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest
from tests.supabase.writes.conftest import ALL, Tokens

from interlock.backends.supabase import SupabaseBackend, SupabaseSettings
from interlock.http import EngineName
from interlock.testing.conformance import Connect, NativeErrorConformance, Subject


class TestSupabaseNativeErrors(NativeErrorConformance):
    engine: ClassVar[EngineName] = "pyreqwest"

    @pytest.fixture
    def connect(self) -> Connect:
        @asynccontextmanager
        async def connected(url: str) -> AsyncIterator[Subject]:
            settings = SupabaseSettings(url=url, anon_key="anon", engine=self.engine, timeout=10)
            backend = SupabaseBackend(settings, ALL, tokens=Tokens("a secret of the tests, of 32 bytes or more"))
            yield Subject(backend)
            await backend.aclose()

        return connected


class TestSupabaseNativeErrorsWithAiohttp(TestSupabaseNativeErrors):
    engine = "aiohttp"
