"""Creation and migration of the tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from churn.errors import TableError

if TYPE_CHECKING:
    import sqlalchemy as sa

MIGRATIONS = Path(__file__).parent / "migrations"

VERSION_TABLE = "churn_records_version"

LOCK = 0x63_68_75_72_6E
"""Number of the advisory lock of PostgreSQL under which tables are changed."""


def migrate(connection: sa.Connection) -> None:
    """Bring the tables to the newest form, in the transaction of the connection.

    Raises
    ------
    TableError
        If a newer program has migrated them.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
    if is_current(connection):
        return
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_current(connection: sa.Connection) -> bool:
    """Return whether the tables have the newest form.

    Raises
    ------
    TableError
        If they have a form that this program does not know.
    """
    scripts = ScriptDirectory(str(MIGRATIONS))
    found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise TableError(
            f"the store has schema version {found}, which this program does not support; use a newer version of churn"
        )
    return found == scripts.get_current_head()
