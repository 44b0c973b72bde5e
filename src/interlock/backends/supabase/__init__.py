"""Supabase: the third backend."""
