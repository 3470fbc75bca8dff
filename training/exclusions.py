"""Exclusion of rows by value: ``--drop-rows COLUMN=VALUE``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.errors import TableError
from churn.names import normalize
from training.labels import find_word, fold, read_words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Condition for excluding rows, from ``--drop-rows COLUMN=VALUE``.

    Attributes
    ----------
    column : str
    value : str or None
        Value in lower case; None for missing cells.
    written : str
        Value as the user wrote it.
    """

    column: str
    value: str | None
    written: str = ""

    def __str__(self) -> str:
        return f"{self.column} is {'missing' if self.value is None else repr(self.written)}"


def find_columns(told: Sequence[str]) -> list[str]:
    """Return the texts before the equals signs, which are the columns to be read."""
    return [normalize(text[:end].strip()) for text in told for end, character in enumerate(text) if character == "="]


def parse_exclusions(path: Path, told: Sequence[str], names: Sequence[str]) -> list[Exclusion]:
    """Parse ``COLUMN=VALUE``; the value is case-insensitive, and an empty value matches missing cells.

    Raises
    ------
    TableError
        If there is no column name followed by an equals sign.
    """
    return [_parse_exclusion(path, text, names) for text in told]


def _parse_exclusion(path: Path, text: str, names: Sequence[str]) -> Exclusion:
    ends = [position for position, character in enumerate(text) if character == "="]
    for end in ends:  # column names may contain equals signs
        column, value = normalize(text[:end].strip()), fold(text[end + 1 :])
        if column in names:
            return Exclusion(column, value or None, text[end + 1 :].strip())
    what = f"there is no column {text[: ends[0]].strip()!r}" if ends else "it has no equals sign"
    raise TableError(
        f"{path}: --drop-rows {text!r}: {what}; allowed: COLUMN=VALUE, with a column of: {', '.join(names)}"
    )


class RowChooser:
    """Selects rows batch by batch, and counts the excluded ones.

    Parameters
    ----------
    label : str
        Label column.
    positive, negative : str or None
        Label values given by the user. If both are given, rows with other values are excluded.
    exclusions : sequence of Exclusion
    """

    def __init__(self, label: str, positive: str | None, negative: str | None, exclusions: Sequence[Exclusion]) -> None:
        self._label = label
        self._told = (positive, negative)
        self._classes = [fold(word) for word in self._told if word is not None]
        self._exclusions = exclusions
        self._counts = [0] * len(exclusions)
        self._others = 0

    @property
    def left_out(self) -> int:
        """Number of excluded rows."""
        return sum(self._counts) + self._others

    def exclude(self, get_column: Callable[[str], Any], rows: int) -> NDArray[np.bool_]:
        """Return a mask of the rows that match no exclusion.

        Parameters
        ----------
        get_column : callable
            Returns the Arrow array of a column.
        rows : int

        Returns
        -------
        ndarray of bool, shape (rows,)
        """
        chosen = np.ones(rows, dtype=bool)
        for position, exclusion in enumerate(self._exclusions):
            found = find_word(read_words(get_column(exclusion.column)), exclusion.value)
            self._counts[position] += int((found & chosen).sum())
            chosen &= ~found
        return chosen

    def leave_others(self, words: Any, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:  # noqa: ANN401  an Arrow array
        """Return a mask of the rows in `chosen` whose label is one of the given classes or missing.

        Parameters
        ----------
        words : pyarrow.StringArray of length n
            The label of each row; null if it is missing.
        chosen : ndarray of bool, shape (n,)
        """
        if len(self._classes) < len(self._told):
            return chosen
        others = ~np.logical_or.reduce([find_word(words, word) for word in (*self._classes, None)]) & chosen
        self._others += int(others.sum())
        kept: NDArray[np.bool_] = chosen & ~others
        return kept

    def describe(self) -> tuple[str, ...]:
        """Return one sentence per exclusion."""
        counts = zip(self._exclusions, self._counts, strict=True)
        notes = [f"{count:,} rows are left out: {exclusion}." for exclusion, count in counts]
        if self._others:
            yes, no = self._told
            notes.append(f"{self._others:,} rows are left out: {self._label} is neither {yes!r} nor {no!r}.")
        return tuple(notes)
