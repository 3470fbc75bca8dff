"""The first tables.

They are written out here instead of taken from `records.tables`, which will change.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Create all tables."""
    writers = op.create_table(
        "churn_writers",
        sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("started", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("pruned", sa.BigInteger, nullable=False),
        sa.Column("pruned_hash", sa.LargeBinary, nullable=False),
        sa.Column("seals", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "churn_records",
        sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("customer_id", sa.Text),
        sa.Column("input", sa.Text),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("churn", sa.Boolean, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("manifest_sha256", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("reasons", sa.Text),
        sa.Column("read_as", sa.Text),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("personal_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        postgresql_partition_by="RANGE (time)",
    )
    op.create_index("churn_records_customer", "churn_records", ["customer_id", "time"])
    op.create_index("churn_records_request", "churn_records", ["request_id"])
    op.create_index("churn_records_time", "churn_records", ["time"])
    op.create_table(
        "churn_seals",
        sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "churn_journal",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "churn_outcomes",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("loaded", sa.BigInteger, nullable=False),
    )
    start = {"sequence": 0, "hash": bytes(32), "pruned": 0, "pruned_hash": bytes(32), "seals": 0}
    op.bulk_insert(writers, [{"writer": 0, "name": "journal", "started": 0, **start}])


def downgrade() -> None:
    """Drop all tables."""
    for name in ("churn_outcomes", "churn_journal", "churn_seals", "churn_records", "churn_writers"):
        op.drop_table(name)
