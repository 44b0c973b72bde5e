"""The rules of audit, over Supabase."""

from tests.services.test_audit import *  # noqa: F403 - its tests, under this folder's fixtures
