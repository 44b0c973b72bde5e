"""Alembic's scripts: how a database comes to this version's tables."""
