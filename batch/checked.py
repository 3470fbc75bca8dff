"""What a recorded job read or wrote, compared with what is there now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from churn.errors import ChurnError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.row_hash import RowHash

Part = Literal["input", "output", "rejects"]
"""What of a job is compared."""


class Checked(NamedTuple):
    """A table or a file that was compared.

    Attributes
    ----------
    name : str
        For messages.
    recorded, found : str
        Its hash, of rows with their number.
    """

    name: str
    recorded: str
    found: str

    @property
    def is_same(self) -> bool:
        """Whether it is what was recorded."""
        return self.recorded == self.found


def require_hash(job: Mapping[str, Any], part: Part, name: str) -> Any:  # noqa: ANN401  from JSON
    """Return a recorded hash of a job.

    Parameters
    ----------
    job : mapping
        Of `records.listing.list_jobs`.
    part : {"input", "output", "rejects"}
    name : str
        Name of the hash in it.

    Raises
    ------
    ChurnError
        If the job has none.
    """
    if not job.get(name):
        raise ChurnError(f"entry {job['entry']} of the journal has no hash of its {part}")
    return job[name]


def compare_rows(name: str, recorded: Mapping[str, Any], found: RowHash) -> Checked:
    """Compare rows with what `RowHash.describe` said of those of a job."""
    return Checked(name, _show(recorded), _show(found.describe()))


def _show(described: Mapping[str, Any]) -> str:
    return f"{described['rows']:,} rows, {described['hash']}"
