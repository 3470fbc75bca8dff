"""The working folder of a job, with a journal of its durable progress."""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from batch.files.source import Position
from churn.errors import TableError
from churn.runtime.files import replace_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import Self

_JOURNAL, _LOCK = "journal.json", "lock"


@dataclass(frozen=True, slots=True)
class Journal:
    """Durable progress of a job.

    Attributes
    ----------
    job : mapping
        Parameters that must be the same for the job to be resumed.
    counts : mapping
        State of the job's `Tally`.
    position : Position
        Position in the input up to which rows are done.
    scores, rejects : int
        Lengths of the unfinished files, in bytes, up to which they belong to done rows.
    seconds : float
        Duration of all runs so far.
    summary : mapping, optional
        Set when the files are ready to be published.
    """

    job: Mapping[str, Any]
    counts: Mapping[str, Any]
    position: Position = field(default_factory=Position)
    scores: int = 0
    rejects: int = 0
    seconds: float = 0.0
    summary: Mapping[str, Any] | None = None


class JobFolder:
    """A working folder, which only one job at a time can use.

    Parameters
    ----------
    path : Path
        Its parent folder must exist.

    Raises
    ------
    TableError
        If another job uses it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self._lock = (path / _LOCK).open("wb")
        try:
            # Held until the process ends for any reason.
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise TableError(f"{path}: another job is writing the same output") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self.path / _JOURNAL).exists():
            shutil.rmtree(self.path)  # nothing in it can be resumed
        self._lock.close()

    @property
    def scores(self) -> Path:
        """Path of the unfinished file of scores."""
        return self.path / "scores"

    @property
    def rejects(self) -> Path:
        """Path of the unfinished file of rejects."""
        return self.path / "rejects"

    def read(self, job: Mapping[str, Any]) -> Journal | None:
        """Return the journal of a killed job, or None if there is none.

        Raises
        ------
        TableError
            If it was a different job; the message says what differs.
        """
        path = self.path / _JOURNAL
        if not path.exists():
            return None
        begun = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in job if begun["job"].get(name) != job[name]]
        if differing:
            shown = "; ".join(_describe_difference(name, begun["job"].get(name), job[name]) for name in differing)
            raise TableError(f"{self.path}: the job differs and can't be resumed: {shown}")
        return Journal(**{**begun, "position": Position(*begun["position"])})

    def write(self, journal: Journal) -> None:
        """Write the journal atomically."""
        replace_text(self.path / _JOURNAL, json.dumps(asdict(journal)))

    def clear(self) -> None:
        """Delete the remains of a killed job."""
        for path in self.path.iterdir():
            if path.name != _LOCK:
                path.unlink()

    def remove(self) -> None:
        """Delete the folder and release its lock."""
        (self.path / _JOURNAL).unlink()


def _describe_difference(name: str, before: Any, now: Any) -> str:  # noqa: ANN401  plain data
    """Describe what differs; for files, the first difference."""
    if name == "files" and len(before) == len(now):
        before, now = next(pair for pair in zip(before, now, strict=True) if pair[0] != pair[1])
    elif name == "files":
        before, now = len(before), len(now)
    return f"{name} was {before!r} and is {now!r}"
