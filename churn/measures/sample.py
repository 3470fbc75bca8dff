"""Customers whose outcome is known, sorted by probability once for all measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from churn.measures.ranking import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray


def number_persons(clusters: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return numbers of persons from 0, shape (n,), in the place of any; None if each is there once."""
    persons, numbers = np.unique(clusters, return_inverse=True)
    return None if len(persons) == len(clusters) else numbers.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Sample:
    """Customers by descending probability.

    Attributes
    ----------
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    probabilities : ndarray of float64, shape (n,)
    selected : ndarray of bool, shape (n,)
        Whether the customer was predicted to leave.
    clusters : ndarray of int64, shape (n,), or None
        Equal numbers from 0 are the same person, see `number_persons`; None if everybody is there once.
    """

    labels: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    selected: NDArray[np.bool_]
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls,
        labels: NDArray[np.float64],
        probabilities: NDArray[np.float64],
        selected: NDArray[np.bool_],
        clusters: NDArray[np.int64] | None = None,
    ) -> tuple[Sample, NDArray[np.intp]]:
        """Sort customers; return them, and their order: the position of each among those given, shape (n,).

        Any numbers can be `clusters`.
        """
        order = np.argsort(-probabilities, kind="stable")
        persons = None if clusters is None else number_persons(clusters)
        who = None if persons is None else persons[order]
        return cls(labels[order], probabilities[order], selected[order], who), order

    def subset(self, mask: NDArray[np.bool_]) -> Sample:
        """Return the customers of a mask, shape (n,); they are sorted already."""
        who = None if self.clusters is None else self.clusters[mask]
        return Sample(self.labels[mask], self.probabilities[mask], self.selected[mask], who)

    @cached_property
    def ranking(self) -> Ranking:
        """The customers with the runs of equal probabilities."""
        starts = np.flatnonzero(np.diff(self.probabilities, prepend=np.inf))
        return Ranking(self.labels, self.probabilities, starts)

    @property
    def has_both(self) -> bool:
        """Whether there are customers who left and customers who stayed."""
        return bool(0 < self.labels.sum() < len(self.labels))
