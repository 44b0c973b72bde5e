"""The rules of contracts, over Supabase."""

from tests.services.test_contracts import *  # noqa: F403 - its tests, under this folder's fixtures
