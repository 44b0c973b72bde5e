"""The rules of customers, over Supabase."""

from tests.services.test_customers import *  # noqa: F403 - its tests, under this folder's fixtures
