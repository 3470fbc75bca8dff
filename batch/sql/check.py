"""Compare tables and queries with what a recorded job read or wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch.checked import compare_rows, require_hash
from batch.sql.hashing import hash_query
from batch.sql.selection import select_all
from churn.database import open_database

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.checked import Checked, Part


def check_table(job: Mapping[str, Any], part: Part, url: str, query: str | None = None) -> Checked:
    """Compare the rows of a table or a query with those of a recorded job.

    Only the recorded columns count; more of them may be there.

    Parameters
    ----------
    job : mapping
        Of `records.listing.list_jobs`.
    part : {"input", "output", "rejects"}
    url : str
        SQLAlchemy URL of the database that has the rows.
    query : str, optional
        Selects the rows. Defaults to the job's query or table.

    Raises
    ------
    TableError
        If the rows can't be read or lack a column.
    ChurnError
        If the job has no hash of this part.
    """
    recorded = require_hash(job, part, f"{part}_rows")
    database = open_database(url)
    names = {"input": "query", "output": "table", "rejects": "rejects_table"}
    name = query or str(job[names[part]])
    with database.explaining(), database.engine.connect() as connection:
        is_table = query is None and part != "input"
        text = select_all(connection, name) if is_table else name
        found = hash_query(connection, text, recorded["columns"], can_copy=database.can_copy)
    return compare_rows(name, recorded, found)
