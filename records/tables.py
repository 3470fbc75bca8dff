"""Tables of the store, as the newest migration leaves them. Times are whole microseconds since 1970, in UTC.

Integers are the same in both databases, exact, and part of what is hashed. `records.migrations` creates the tables;
a test compares both.
"""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()

WRITERS = sa.Table(
    "churn_writers",
    METADATA,
    # Numbers without gaps from 1, so that a removed writer is noticed. Number 0 is the journal, which is no writer of
    # records, so that its end is known, too.
    sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False, doc="Host and process, for people."),
    sa.Column("started", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False, doc="Of its newest record; 0 before the first."),
    sa.Column("hash", sa.LargeBinary, nullable=False, doc="Of its newest record."),
    sa.Column("pruned", sa.BigInteger, nullable=False, doc="Newest sequence that retention has removed; 0: none."),
    sa.Column("pruned_hash", sa.LargeBinary, nullable=False, doc="Hash of that record, where the chain starts."),
    sa.Column("seals", sa.BigInteger, nullable=False, doc="Number of its seals."),
)
"""One row per chain: a process that writes records."""

RECORDS = sa.Table(
    "churn_records",
    METADATA,
    sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False, doc="In the chain, from 1."),
    # Part of the key only because PostgreSQL wants the column of its partitions there.
    sa.Column("time", sa.BigInteger, primary_key=True, autoincrement=False, doc="When the answer was ready."),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("key", sa.Text, doc="Name of the API key or token."),
    sa.Column("customer_id", sa.Text, doc="As text; null if none was sent, or if it was erased."),
    sa.Column("input", sa.Text, doc="The customer as it was sent, as JSON; null if it was erased."),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("churn", sa.Boolean, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("reasons", sa.Text, doc="As JSON; null if they were not asked for, or if they were erased."),
    sa.Column("read_as", sa.Text, doc="Parameters with which the input was read, e.g. texts=parse; null: as JSON."),
    sa.Column("salt", sa.LargeBinary, doc="Random; null if the record was erased."),
    sa.Column("personal_hash", sa.LargeBinary, nullable=False, doc="Of salt, customer_id, input and reasons."),
    sa.Column("hash", sa.LargeBinary, nullable=False, doc="Of the hash before it and all columns; see docs."),
    sa.Index("churn_records_customer", "customer_id", "time"),
    sa.Index("churn_records_request", "request_id"),
    sa.Index("churn_records_time", "time"),
    postgresql_partition_by="RANGE (time)",
)
"""One row per scored customer."""

SEALS = sa.Table(
    "churn_seals",
    METADATA,
    sa.Column("writer", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False, doc="In the writer's seals, from 1."),
    sa.Column("hour", sa.BigInteger, nullable=False, doc="Beginning of the hour of the sealed records."),
    sa.Column("first", sa.BigInteger, nullable=False, doc="Sequence of its first record."),
    sa.Column("last", sa.BigInteger, nullable=False, doc="Sequence of its last record."),
    sa.Column("head", sa.LargeBinary, nullable=False, doc="Hash of the last record."),
    sa.Column("hash", sa.LargeBinary, nullable=False, doc="Of the seal before it and these columns."),
)
"""One row per writer and hour with records; kept when the records are pruned."""

JOURNAL = sa.Table(
    "churn_journal",
    METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, doc="writer, job, erase, prune or outcomes."),
    sa.Column("detail", sa.Text, nullable=False, doc="As JSON."),
    sa.Column("hash", sa.LargeBinary, nullable=False, doc="Of the entry before it and these columns."),
)
"""New writers, whole batch jobs, and what was removed: a chain of its own."""

OUTCOMES = sa.Table(
    "churn_outcomes",
    METADATA,
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False, doc="Days since 1970-01-01, in UTC."),
    sa.Column("churned", sa.Boolean, nullable=False, doc="Left on this day; otherwise still a customer."),
    sa.Column("loaded", sa.BigInteger, nullable=False),
    sa.Column("corrections", sa.Text, doc="What was loaded before and replaced: a JSON object per line, or null."),
    sqlite_with_rowid=False,  # one lookup instead of two
)
"""What became of customers."""

JUDGEMENTS = sa.Table(
    "churn_judgements",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("judgement", sa.Text, nullable=False, doc="As JSON; see records.judging.judgement."),
)
"""How good recorded decisions were, judged at a time. Numbers about many customers, so that nothing is erased."""
