"""The folder a job works in until it is done, with a journal of how far it is for sure."""

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
    """How far a job is.

    Attributes
    ----------
    job : mapping
        What must be the same for it to be resumed.
    counts : mapping
        The state of its `Tally`.
    position : Position
        Up to where the input is done.
    scores, rejects : int
        Bytes of the unfinished files that hold what is done.
    seconds : float
        How long it has worked.
    summary : mapping, optional
        There when only names are missing.
    """

    job: Mapping[str, Any]
    counts: Mapping[str, Any]
    position: Position = field(default_factory=Position)
    scores: int = 0
    rejects: int = 0
    seconds: float = 0.0
    summary: Mapping[str, Any] | None = None


class JobFolder:
    """A folder beside the output, which one job at a time has.

    Parameters
    ----------
    path : Path
        The folder above it is there.

    Raises
    ------
    TableError
        If another job works in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self._lock = (path / _LOCK).open("wb")
        try:
            # Held until the process ends, however it ends.
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
            shutil.rmtree(self.path)  # nothing in it can be gone on with
        self._lock.close()

    @property
    def scores(self) -> Path:
        """The unfinished file of scores."""
        return self.path / "scores"

    @property
    def rejects(self) -> Path:
        """The unfinished file of rejects."""
        return self.path / "rejects"

    def read(self, job: Mapping[str, Any]) -> Journal | None:
        """Return how far a killed job was; None if there was none.

        Raises
        ------
        TableError
            If it was another job; the message says what differs.
        """
        path = self.path / _JOURNAL
        if not path.exists():
            return None
        begun = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in job if begun["job"].get(name) != job[name]]
        if differing:
            shown = "; ".join(_tell_difference(name, begun["job"].get(name), job[name]) for name in differing)
            raise TableError(f"{self.path}: the job was begun otherwise and can't be resumed: {shown}")
        return Journal(**{**begun, "position": Position(*begun["position"])})

    def write(self, journal: Journal) -> None:
        """Note how far the job is, atomically."""
        replace_text(self.path / _JOURNAL, json.dumps(asdict(journal)))

    def clear(self) -> None:
        """Drop what a killed job left."""
        for path in self.path.iterdir():
            if path.name != _LOCK:
                path.unlink()

    def remove(self) -> None:
        """End the job."""
        (self.path / _JOURNAL).unlink()


def _tell_difference(name: str, before: Any, now: Any) -> str:  # noqa: ANN401  plain data
    """Say what differs; of the files, the first that does."""
    if name == "files" and len(before) == len(now):
        before, now = next(pair for pair in zip(before, now, strict=True) if pair[0] != pair[1])
    elif name == "files":
        before, now = len(before), len(now)
    return f"{name} was {before!r} and is {now!r}"
