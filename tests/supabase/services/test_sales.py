"""The rules of sales, over Supabase."""

from tests.services.test_sales import *  # noqa: F403 - its tests, under this folder's fixtures
