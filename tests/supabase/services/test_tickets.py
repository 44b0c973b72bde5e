"""The rules of tickets, over Supabase."""

from tests.services.test_tickets import *  # noqa: F403 - its tests, under this folder's fixtures
