"""The control store's tables, one definition for SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Float, Identity, Index, Integer, LargeBinary, MetaData, Table, Text, text

__all__ = ["JOURNAL", "METADATA", "ROUTES", "VERSION", "VERSIONS"]

VERSION: Final = 1
"""The version of these tables."""

METADATA: Final = MetaData()

_LONG: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only where the key is an INTEGER."""

VERSIONS: Final = Table("interlock_control", METADATA, Column("version", Integer, primary_key=True))

ROUTES: Final = Table(
    "interlock_routes",
    METADATA,
    Column("service", Text, primary_key=True),
    Column("tenant_id", Text, primary_key=True),
    Column("stage", Text, nullable=False),
    Column("open", Integer, nullable=False),
    Column("primary_backend", Text, nullable=False),
    Column("secondary_backend", Text),
    Column("epoch", BigInteger, nullable=False),
    Column("head", BigInteger),
    Column("at", Float, nullable=False),
)

JOURNAL: Final = Table(
    "interlock_journal",
    METADATA,
    Column("seq", _LONG, Identity(always=True), primary_key=True, autoincrement=True),
    Column("service", Text, nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("operation_id", Text, nullable=False),
    Column("item", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("primary_backend", Text, nullable=False),
    Column("secondary_backend", Text),
    Column("owner", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("pinned", BigInteger),
    Column("image", LargeBinary),
    Column("result", LargeBinary),
    Column("problem", Text),
    Column("at", Float, nullable=False),
    # One operation of a record at a time: who comes next waits until the one before has its outcome.
    Index(
        "interlock_journal_open",
        "record_id",
        "tenant_id",
        "resource",
        unique=True,
        sqlite_where=text("status = 'intent'"),
        postgresql_where=text("status = 'intent'"),
    ),
    Index("interlock_journal_operation", "operation_id", "tenant_id", "item", unique=True),
    Index("interlock_journal_unmirrored", "service", "status", "seq"),
    sqlite_autoincrement=True,
)
