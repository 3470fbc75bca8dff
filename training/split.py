"""Split customers into training, validation and test sets according to the evaluation protocol."""

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
    """Row numbers of each set; a set that was not requested is empty.

    Attributes
    ----------
    train, validation, test : ndarray of int64, shape (rows of the set,)
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


def split_rows(
    labels: NDArray[np.float64], *, test_size: float, validation_size: float, seed: int, stratify: bool = True
) -> Split:
    """Split rows twice with the same seed: first off the test set, then the rest into training and validation set.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
    test_size, validation_size : float
        Fraction of all rows, and fraction of the rest; 0 for none.
    seed : int
    stratify : bool
        Whether each set has the same share of leavers.

    Raises
    ------
    TableError
        If there are too few customers for a set, or a set would have only one class.
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
        raise TableError(f"can't hold out a {part} set of {size:g} from {len(rows)} customers: {error}") from error
    for left in (kept, taken):
        if len(np.unique(labels[left])) < 2:
            raise TableError(
                f"with a {part} set of {size:g} held out from {len(rows)} customers, {len(left)} of them all have the "
                f"same label; choose another --{part}-size or add rows"
            )
    return kept, taken
