"""Run by Alembic, with the connection that `records.migrate` passes."""

from __future__ import annotations

from alembic import context

from records.migrate import VERSION_TABLE
from records.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
