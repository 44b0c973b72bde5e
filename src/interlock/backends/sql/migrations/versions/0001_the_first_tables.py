"""The first tables.

Written by Alembic from the entities as they were then, and not changed since.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# SQLite keeps amounts as integers of 1/10000, and times and dates as text of fixed width; so that they sort and add up exactly.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
TIME = sa.Text().with_variant(sa.DateTime(timezone=True), "postgresql")
DATE = sa.Text().with_variant(sa.Date(), "postgresql")
AMOUNT = sa.BigInteger().with_variant(sa.Numeric(precision=20, scale=4), "postgresql")
TEXTS = sa.Text().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")


def upgrade() -> None:
    """Go up."""
    op.create_table(
        "audit",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("record_id", TEXT, nullable=False),
        sa.Column("before", TEXT, nullable=False),
        sa.Column("after", TEXT, nullable=False),
        sa.Column("backend", TEXT, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("operation_id", TEXT, nullable=False),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.Column("_forwarded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_audit_recent", "audit", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_index(
        "ix_audit_waiting",
        "audit",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("_forwarded IS false"),
        sqlite_where=sa.text("_forwarded IS 0"),
    )
    op.create_table(
        "comments",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("ticket_id", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("internal", sa.Boolean(), nullable=False),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "ix_comments_recent", "comments", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_index("ix_comments_ticket_id", "comments", ["tenant_id", "ticket_id"], unique=False)
    op.create_table(
        "contracts",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("value", AMOUNT, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("start_date", DATE, nullable=True),
        sa.Column("end_date", DATE, nullable=True),
        sa.Column("renewal", TEXT, nullable=False),
        sa.Column("signed_at", TIME, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_contracts_customer_id", "contracts", ["tenant_id", "customer_id"], unique=False)
    op.create_index(
        "ix_contracts_recent", "contracts", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_table(
        "credentials",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("lookup", TEXT, nullable=False),
        sa.Column("secret", TEXT, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_credentials_lookup_any", "credentials", ["lookup"], unique=False)
    op.create_index(
        "ix_credentials_recent", "credentials", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_index("ix_credentials_user_id", "credentials", ["tenant_id", "user_id"], unique=False)
    op.create_index(
        "uq_credentials_lookup",
        "credentials",
        ["tenant_id", "lookup"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "customers",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("company_name", TEXT, nullable=False),
        sa.Column("contact_name", TEXT, nullable=True),
        sa.Column("email", TEXT, nullable=True),
        sa.Column("phone", TEXT, nullable=True),
        sa.Column("address", TEXT, nullable=True),
        sa.Column("city", TEXT, nullable=True),
        sa.Column("country", TEXT, nullable=True),
        sa.Column("industry", TEXT, nullable=True),
        sa.Column("size", TEXT, nullable=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("notes", TEXT, nullable=True),
        sa.Column("assigned_to", TEXT, nullable=True),
        sa.Column("location_lat", sa.Double(), nullable=True),
        sa.Column("location_lon", sa.Double(), nullable=True),
        sa.Column("tags", TEXTS, nullable=False),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.Column("_u_email", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_customers_assigned_to", "customers", ["tenant_id", "assigned_to"], unique=False)
    op.create_index(
        "ix_customers_recent", "customers", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_index(
        "uq_customers_email",
        "customers",
        ["tenant_id", "_u_email"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "deals",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("customer_id", TEXT, nullable=False),
        sa.Column("stage_id", TEXT, nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("currency", TEXT, nullable=False),
        sa.Column("probability", sa.BigInteger(), nullable=False),
        sa.Column("expected_close", DATE, nullable=True),
        sa.Column("assigned_to", TEXT, nullable=True),
        sa.Column("lost_reason", TEXT, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_deals_assigned_to", "deals", ["tenant_id", "assigned_to"], unique=False)
    op.create_index("ix_deals_customer_id", "deals", ["tenant_id", "customer_id"], unique=False)
    op.create_index("ix_deals_recent", "deals", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_index("ix_deals_stage_id", "deals", ["tenant_id", "stage_id"], unique=False)
    op.create_table(
        "files",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("content_type", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("owner_resource", TEXT, nullable=True),
        sa.Column("owner_id", TEXT, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_files_recent", "files", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_table(
        "interlock_blobs",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("file_id", TEXT, nullable=False),
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "file_id"),
    )
    op.create_table(
        "interlock_chunks",
        sa.Column("upload_id", TEXT, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("upload_id", "position"),
    )
    op.create_table(
        "interlock_operations",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("operation_id", TEXT, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("outcomes", sa.LargeBinary(), nullable=True),
        sa.Column("at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "operation_id"),
    )
    op.create_table(
        "interlock_sequences",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("resource", TEXT, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "resource"),
    )
    op.create_table(
        "notifications",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("user_id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=True),
        sa.Column("link", TEXT, nullable=True),
        sa.Column("read_at", TIME, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "ix_notifications_recent",
        "notifications",
        ["tenant_id", sa.literal_column("created_at DESC"), "id"],
        unique=False,
    )
    op.create_index("ix_notifications_user_id", "notifications", ["tenant_id", "user_id"], unique=False)
    op.create_table(
        "stages",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("label", TEXT, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("probability", sa.BigInteger(), nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.Column("_u_label", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index(
        "ix_stages_recent", "stages", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_index(
        "uq_stages_label",
        "stages",
        ["tenant_id", "_u_label"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "tags",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("color", TEXT, nullable=False),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.Column("_u_name", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_tags_recent", "tags", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_index(
        "uq_tags_name",
        "tags",
        ["tenant_id", "_u_name"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "tickets",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("customer_id", TEXT, nullable=True),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("priority", TEXT, nullable=False),
        sa.Column("category", TEXT, nullable=True),
        sa.Column("assigned_to", TEXT, nullable=True),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("resolved_at", TIME, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_tickets_assigned_to", "tickets", ["tenant_id", "assigned_to"], unique=False)
    op.create_index("ix_tickets_customer_id", "tickets", ["tenant_id", "customer_id"], unique=False)
    op.create_index(
        "ix_tickets_recent", "tickets", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False
    )
    op.create_table(
        "users",
        sa.Column("tenant_id", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("created_by", TEXT, nullable=True),
        sa.Column("updated_by", TEXT, nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.Column("email", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("last_seen_at", TIME, nullable=True),
        sa.Column("_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("_search", TEXT, nullable=False),
        sa.Column("_u_email", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("ix_users_email_any", "users", ["_u_email"], unique=False)
    op.create_index("ix_users_recent", "users", ["tenant_id", sa.literal_column("created_at DESC"), "id"], unique=False)
    op.create_index(
        "uq_users_email",
        "users",
        ["tenant_id", "_u_email"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
        sqlite_where=sa.text("deleted_at IS NULL"),
    )

    _index_search()


def _index_search() -> None:
    """Trigram indexes for search, where PostgreSQL has the extension and lets us create it."""
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    if not connection.scalar(sa.text("select 1 from pg_available_extensions where name = 'pg_trgm'")):
        return
    try:
        with connection.begin_nested():
            connection.execute(sa.text("create extension if not exists pg_trgm"))
    except sa.exc.ProgrammingError:
        return  # not ours to create; search works without, by reading the tenant's rows
    for table in (
        "audit",
        "comments",
        "contracts",
        "customers",
        "deals",
        "files",
        "notifications",
        "stages",
        "tags",
        "tickets",
        "users",
    ):
        op.create_index(
            f"ix_{table}_search", table, ["_search"], postgresql_using="gin", postgresql_ops={"_search": "gin_trgm_ops"}
        )


def downgrade() -> None:
    """Drop them all."""
    for table in (
        "users",
        "tickets",
        "tags",
        "stages",
        "notifications",
        "interlock_sequences",
        "interlock_operations",
        "interlock_chunks",
        "interlock_blobs",
        "files",
        "deals",
        "customers",
        "credentials",
        "contracts",
        "comments",
        "audit",
    ):
        op.drop_table(table)
