"""Alembic runs this; the connection is handed over by `interlock.backends.sql.migrating`."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    version_table="interlock_version",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
