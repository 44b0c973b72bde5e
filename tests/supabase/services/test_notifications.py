"""The rules of notifications, over Supabase."""

from tests.services.test_notifications import *  # noqa: F403 - its tests, under this folder's fixtures
