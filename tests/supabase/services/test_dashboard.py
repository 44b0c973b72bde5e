"""The rules of dashboard, over Supabase."""

from tests.services.test_dashboard import *  # noqa: F403 - its tests, under this folder's fixtures
