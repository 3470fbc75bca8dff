"""Faults of a streamed table: all are counted, the first ones are listed by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn.errors import TableError
from churn.tables.encoding import advise_conversion
from churn.tables.tally import RowCounts
from training.tables import LISTED, Fault, has_other_encoding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.source import Source
    from training.table_options import OnBadRow


class FaultLog:
    """Counts rows and their faults, and keeps the first `LISTED` faults.

    Attributes
    ----------
    counts : RowCounts
        ``reasons`` are the columns with faults.
    """

    def __init__(self) -> None:
        self.counts = RowCounts()
        self._kept: list[tuple[Path, Fault]] = []

    @property
    def faults(self) -> int:
        """Number of faults; a row may have several."""
        return self.counts.reasons.total()

    def add(self, file: Path, faults: Sequence[Fault], rows: int, rejected: int) -> None:
        """Add the faults of a batch, the number of its rows, and how many of them have faults."""
        self.counts.rows += rows
        self.counts.accepted += rows - rejected
        self.counts.reasons.update(fault.column for fault in faults)
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
            advice = f"\n{advise_conversion(source.path)}" if has_other_encoding(one for _, one in self._kept) else ""
            raise TableError(
                f"{source.path}: {self.faults} cells or lines can't be used (--on-bad-row drop leaves "
                f"their rows out):\n{self.describe(source)}{advice}"
            )
