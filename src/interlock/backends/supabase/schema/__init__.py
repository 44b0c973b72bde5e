"""The SQL of entities for Supabase: what `supabase/schemas/` holds of each, made and never edited."""

from __future__ import annotations

from interlock.backends.supabase.schema.statements import HEADER, files, statements
from interlock.backends.supabase.schema.tables import Roles

__all__ = ["HEADER", "Roles", "files", "statements"]
