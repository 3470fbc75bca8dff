"""Faults of a streamed table: all are counted, the first ones are listed by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import TableError
from training.tables import LISTED, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.dataset import OnBadRow
    from training.source import Source


class FaultLog:
    """Counts faults and keeps the first `LISTED`.

    Attributes
    ----------
    rows : int
        Number of rows with faults.
    faults : int
        Number of faults; a row may have several.
    """

    def __init__(self) -> None:
        self.rows = self.faults = 0
        self._kept: list[tuple[Path, Fault]] = []

    def add(self, file: Path, faults: Sequence[Fault], rows: int) -> None:
        """Add the faults of a batch, and the number of rows with faults."""
        self.rows += rows
        self.faults += len(faults)
        self._kept += [
            (file, fault) for fault in sorted(faults, key=lambda fault: fault.line)[: LISTED - len(self._kept)]
        ]

    def describe(self, source: Source) -> str:
        """Return the first faults in table order, one per line, and the number of further ones."""
        several = len(source.files) > 1
        shown = [
            f"  {file.relative_to(source.path)}: {fault}" if several else f"  {fault}" for file, fault in self._kept
        ]
        more = self.faults - len(shown)
        return "\n".join([*shown, *([f"  … and {more} more"] if more else [])])

    def check(self, source: Source, on_bad_row: OnBadRow) -> None:
        """Raise TableError with the first faults, unless invalid rows are to be dropped."""
        if self.faults and on_bad_row == "refuse":
            raise TableError(
                f"{source.path}: {self.faults} cells or lines can't be used (--on-bad-row drop leaves "
                f"their rows out):\n{self.describe(source)}"
            )


def find_lines(source: Source, rows: Sequence[int]) -> dict[int, int]:
    """Return the line number of each row; for Parquet, the row number."""
    found = {row: row for row in rows}
    if source.is_text:
        for batch in source.read(source.names[:1]):
            end = batch.first + len(batch.rows)
            wanted = [row for row in rows if batch.first <= row < end]
            if wanted:
                lines = batch.find_lines()
                found |= {row: lines[row - batch.first] for row in wanted}
    return found
