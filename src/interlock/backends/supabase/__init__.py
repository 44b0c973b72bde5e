"""Supabase: the third backend."""

from __future__ import annotations

from interlock.backends.supabase.accounts import SupabaseAccounts
from interlock.backends.supabase.backend import SupabaseBackend
from interlock.backends.supabase.client import SupabaseSettings

__all__ = ["SupabaseAccounts", "SupabaseBackend", "SupabaseSettings"]
