"""The `sql` backend: SQLite and PostgreSQL by one code path, with tables made from the entities."""

from __future__ import annotations

from interlock.backends.sql.backend import SqlBackend
from interlock.backends.sql.migrating import migrate

__all__ = ["SqlBackend", "migrate"]
