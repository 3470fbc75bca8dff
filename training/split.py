"""Splits customers into training, validation and test parts, as the evaluation protocol says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

from churn.errors import TableError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers of each part; a part that was not asked for is empty."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_rows(
    labels: NDArray[np.float64], *, test_size: float, validation_size: float, seed: int, stratify: bool = True
) -> Split:
    """Split rows twice with the same seed: the test part off all, then the validation part off the rest.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
    test_size, validation_size : float
        Share of all rows, and share of the rest; 0 holds nothing out.
    seed : int
    stratify : bool
        Whether each part gets the same share of leavers.

    Raises
    ------
    TableError
        If there are too few customers for such a part, or a part would hold one class alone.
    """
    rest, test = _split_off("test", np.arange(len(labels)), labels, test_size, seed, stratify=stratify)
    train, validation = _split_off("validation", rest, labels, validation_size, seed, stratify=stratify)
    return Split(train, validation, test)


def _split_off(
    part: str, rows: NDArray[np.int64], labels: NDArray[np.float64], size: float, seed: int, *, stratify: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if size == 0:
        return rows, rows[:0]
    try:
        kept, taken = train_test_split(
            rows, test_size=size, stratify=labels[rows] if stratify else None, random_state=seed
        )
    except ValueError as error:
        raise TableError(f"no {part} part of {size:g} can be held out of {len(rows)} customers: {error}") from error
    for left in (kept, taken):
        if len(np.unique(labels[left])) < 2:
            raise TableError(
                f"with a {part} part of {size:g} held out of {len(rows)} customers, {len(left)} of them all have the "
                f"same label: there is nothing to tell apart; choose another --{part}-size or bring more rows"
            )
    return kept, taken
