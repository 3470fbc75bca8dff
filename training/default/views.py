"""The inputs of each fold of the cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from training.default.columns import group_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor


@dataclass(frozen=True, slots=True)
class Views:
    """The preprocessor's matrix, with the label statistics of categories kept apart fold by fold.

    A column of label statistics belongs to one fold: it was computed on the rows that this fold is fitted on. For
    those rows themselves it would tell their own label, so they get statistics of an inner cross-validation instead.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n, width)
        As the preprocessor gives it: what a row that was not fitted on gets.
    preprocessor : Preprocessor
    inner : mapping of int to ndarray of float32, shape (n,)
        By column: what the rows that its fold is fitted on get instead.
    owners : ndarray of int64, shape (width,)
        The fold a column belongs to; -1: all folds'.
    groups : list of ndarray of int64
        Columns of each feature.
    quantities : ndarray of int64
        Columns of more than two values.
    """

    matrix: NDArray[np.float32]
    preprocessor: Preprocessor
    inner: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    owners: NDArray[np.int64] = field(init=False)
    groups: list[NDArray[np.int64]] = field(init=False)
    quantities: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "owners", self.preprocessor.owners)
        object.__setattr__(self, "groups", group_columns(self.preprocessor))
        several = [column for column in self.preprocessor.numeric_columns if len(np.unique(self.matrix[:, column])) > 2]
        object.__setattr__(self, "quantities", np.array(several, dtype=np.int64))

    def take(self, rows: NDArray[np.int64]) -> Views:
        """Return the views of some rows.

        Parameters
        ----------
        rows : ndarray of int64, shape (rows taken,)
        """
        return Views(
            self.matrix[rows], self.preprocessor, {column: values[rows] for column, values in self.inner.items()}
        )

    def columns_kept(self, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the columns of the features kept.

        Parameters
        ----------
        kept : ndarray of bool, shape (features,)
        """
        return np.sort(np.concatenate([group for group, keep in zip(self.groups, kept, strict=True) if keep]))

    def columns_of(self, kept: NDArray[np.bool_], fold: int) -> NDArray[np.int64]:
        """Return the columns of the features kept that a fold uses.

        Parameters
        ----------
        kept : ndarray of bool, shape (features,)
        fold : int
        """
        columns = self.columns_kept(kept)
        return columns[np.isin(self.owners[columns], (-1, fold))]

    def fitted(self, fold: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the matrix of rows that a fold is fitted on.

        Parameters
        ----------
        fold : int
        rows : ndarray of int64, shape (rows fitted,)
        """
        matrix = self.matrix[rows]
        for column, values in self.inner.items():
            if self.owners[column] == fold:
                matrix[:, column] = values[rows]
        return matrix

    def never_own(self) -> NDArray[np.float32]:
        """Return the matrix of all rows, in which no statistic of labels contains the label of its own row.

        Returns
        -------
        ndarray of float32, shape (n, columns)
        """
        matrix = self.matrix.copy()
        for column, values in self.inner.items():
            matrix[:, column] = np.where(np.isnan(values), matrix[:, column], values)
        return matrix

    def held_out(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the matrix of rows that a fold is not fitted on.

        Parameters
        ----------
        rows : ndarray of int64, shape (rows held out,)
        """
        return self.matrix[rows]
