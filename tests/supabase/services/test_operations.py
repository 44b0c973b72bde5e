"""The rules of operations, over Supabase."""

from tests.services.test_operations import *  # noqa: F403 - its tests, under this folder's fixtures
