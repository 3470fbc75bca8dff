"""Faulty rows of a streamed table: the first are listed by line, all are counted."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from churn.errors import TableError
from churn.runtime.files import find_delimiter
from training.tables import LISTED, Fault

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.dataset import OnBadRow
    from training.streaming.read import Source


class FaultLog:
    """Counts faults and keeps the first `LISTED`.

    Attributes
    ----------
    rows : int
        Rows with a fault.
    faults : int
        A row may have several.
    """

    def __init__(self) -> None:
        self.rows = self.faults = 0
        self._kept: list[tuple[Path, Fault]] = []

    def add(self, file: Path, faults: Sequence[Fault], rows: int) -> None:
        """Add the faults of a batch, whose lines are rows of the file counted from 1."""
        self.rows += rows
        self.faults += len(faults)
        self._kept += [
            (file, fault) for fault in sorted(faults, key=lambda fault: fault.line)[: LISTED - len(self._kept)]
        ]

    def describe(self, source: Source) -> str:
        """Return the first faults in the order of the table, a line each, and how many more there are."""
        kept = self._kept
        if source.is_text and (kept or source.ragged):
            lines, ragged = _locate(source.path, [fault.line for _, fault in kept])
            own = [(source.path, Fault(lines[fault.line], fault.column, fault.reason)) for _, fault in kept]
            kept = sorted([*own, *((source.path, fault) for fault in ragged)], key=lambda found: found[1].line)[:LISTED]
        several = len(source.files) > 1
        shown = [f"  {file.relative_to(source.path)}: {fault}" if several else f"  {fault}" for file, fault in kept]
        more = self.faults + source.ragged - len(shown)
        return "\n".join([*shown, *([f"  … and {more} more"] if more else [])])

    def check(self, source: Source, on_bad_row: OnBadRow) -> None:
        """Refuse a table with faults, unless its faulty rows are to be dropped; TableError lists the first."""
        if self.faults + source.ragged and on_bad_row == "refuse":
            raise TableError(
                f"{source.path}: {self.faults + source.ragged} cells or lines can't be used (--on-bad-row drop leaves "
                f"their rows out):\n{self.describe(source)}"
            )


def find_lines(source: Source, rows: Sequence[int]) -> dict[int, int]:
    """Return the line in the file of each row; a Parquet file's rows are its lines."""
    return _locate(source.path, rows)[0] if source.is_text else {row: row for row in rows}


def _locate(path: Path, rows: Sequence[int]) -> tuple[dict[int, int], list[Fault]]:
    """Read a CSV to find the lines of whole rows, counted from 1, and its first ragged lines."""
    lines: dict[int, int] = {}
    ragged: list[Fault] = []
    wanted = set(rows)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        delimiter = find_delimiter(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        width = len(next(row for row in reader if row))
        whole, start = 0, reader.line_num + 1
        for row in reader:
            if len(row) == width:
                whole += 1
                if whole in wanted:
                    lines[whole] = start
            elif row and len(ragged) < LISTED:
                ragged.append(Fault(start, "", f"{len(row)} fields, and the header has {width}"))
            if len(lines) == len(wanted) and len(ragged) == LISTED:
                break
            start = reader.line_num + 1
    return lines, ragged
