"""The rules of files, over Supabase."""

from tests.services.test_files import *  # noqa: F403 - its tests, under this folder's fixtures

del test_signed_urls  # noqa: F821 - it is about backends that sign none
