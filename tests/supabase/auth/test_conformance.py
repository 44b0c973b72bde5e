"""Supabase's auth under the suite that every log-in passes."""

from __future__ import annotations

import pytest
from tests.supabase.auth.conftest import Enrol

from interlock.abilities import Authenticates, RecoversAccounts
from interlock.backends.supabase import SupabaseAccounts, SupabaseBackend
from interlock.testing.conformance import AccountsConformance, AuthConformance, Subject
from interlock.testing.gaps import Gap


class TestSupabaseAccounts(AuthConformance, AccountsConformance):
    gaps = (
        Gap(
            "test_a_session_is_refreshed_and_the_token_rotates",
            "never",
            "Supabase takes the refresh token before the current one again and answers the current one, for clients who lost an answer;"
            " tests/supabase/auth holds that older ones are refused",
        ),
    )

    @pytest.fixture
    async def subject(self, backend: SupabaseBackend, accounts: SupabaseAccounts, enrol: Enrol) -> Subject:
        return Subject(backend, {Authenticates: accounts, RecoversAccounts: accounts}, await enrol())
