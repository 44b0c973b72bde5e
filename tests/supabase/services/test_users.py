"""The rules of users, over Supabase."""

from tests.services.test_users import *  # noqa: F403 - its tests, under this folder's fixtures
