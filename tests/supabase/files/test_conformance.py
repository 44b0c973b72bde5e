"""Files and signed URLs of a Supabase project pass the suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.supabase.files.conftest import Tokens

from interlock.abilities import SignsUrls, StoresFiles
from interlock.backends.supabase.backend import SupabaseBackend
from interlock.backends.supabase.client import SupabaseSettings
from interlock.backends.supabase.files import SupabaseFiles
from interlock.entities import ENTITIES
from interlock.testing.conformance import FilesConformance, SignedUrlsConformance, Subject

pytestmark = pytest.mark.anyio


@pytest.fixture
async def connected(stack: Any, tokens: Tokens, files: SupabaseFiles) -> AsyncIterator[Subject]:
    settings = SupabaseSettings(url=stack.url, anon_key=stack.anon_key, realtime=False)
    backend = SupabaseBackend(settings, ENTITIES, tokens=tokens)
    yield Subject(backend, {StoresFiles: files, SignsUrls: files})
    await backend.aclose()


class TestFiles(FilesConformance, SignedUrlsConformance):
    """Through both engines."""

    @pytest.fixture
    def subject(self, connected: Subject) -> Subject:
        return connected
