"""Outcomes by day with their corrections, and judgements.

Nothing has written outcomes before, so their table is made anew: days are whole numbers, as times are.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"


def upgrade() -> None:
    """Replace the table of outcomes, and create that of judgements."""
    op.drop_table("churn_outcomes")
    op.create_table(
        "churn_outcomes",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("loaded", sa.BigInteger, nullable=False),
        sa.Column("corrections", sa.Text),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "churn_judgements",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("judgement", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Restore the table of outcomes, without its content."""
    op.drop_table("churn_judgements")
    op.drop_table("churn_outcomes")
    op.create_table(
        "churn_outcomes",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("date", sa.Date, primary_key=True),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("loaded", sa.BigInteger, nullable=False),
    )
