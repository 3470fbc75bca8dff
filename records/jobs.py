"""Record a batch job as a whole, with the hashes of its input and output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn import __version__
from records.journal import append_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from records.journal import Entry
    from records.store import RecordStore

KEPT = (
    *("source", "query", "inputs", "target", "table", "rejects_table", "output", "output_sha256", "rejects"),
    *("rejects_sha256", "input_rows", "output_rows", "rejects_rows", "rows", "scored", "rejected", "leavers"),
    *("model_version", "manifest_sha256", "seconds"),
)
"""Parts of a job's summary that are recorded, where the job has them."""


def record_job(store: RecordStore, kind: str, summary: Mapping[str, Any]) -> Entry:
    """Append a finished job to the journal.

    Parameters
    ----------
    store : RecordStore
    kind : {"files", "sql", "spark"}
    summary : mapping
        Of the job; see `KEPT`.

    Raises
    ------
    TableError
        If the database fails.
    """
    kept = {name: summary[name] for name in KEPT if name in summary}
    with store.writing() as connection:
        return append_entry(connection, "job", {"kind": kind, "program": __version__, **kept})
