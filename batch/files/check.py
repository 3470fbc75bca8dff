"""Compare files with those that a recorded job read or wrote."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from batch.checked import Checked, require_hash
from batch.files.locations import locate
from churn.errors import ChurnError, TableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch.checked import Part


def check_files(job: Mapping[str, Any], part: Part, path: str | None = None) -> list[Checked]:
    """Compare files with those of a recorded job.

    Parameters
    ----------
    job : mapping
        Of `records.listing.list_jobs`.
    part : {"input", "output", "rejects"}
    path : str, optional
        Path or URI of the file, if there is one, where it is now. Defaults to where the files were.

    Raises
    ------
    TableError
        If a file can't be read.
    ChurnError
        If the job has no hash of this part, or read several files and one was given.
    """
    if part == "input":
        recorded = {one["name"]: one["sha256"] for one in require_hash(job, part, "inputs")}
    else:
        recorded = {job[part]: require_hash(job, part, f"{part}_sha256")}
    if path is not None:
        if len(recorded) > 1:
            raise ChurnError(f"entry {job['entry']} of the journal has {len(recorded)} inputs, which are found by name")
        recorded = {path: next(iter(recorded.values()))}
    return [Checked(name, digest, _hash(name)) for name, digest in recorded.items()]


def _hash(name: str) -> str:
    place = locate(name)
    try:
        with place.system.open_input_file(place.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TableError(f"{place.name}: can't be read: {error}") from None
