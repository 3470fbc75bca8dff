"""Piecewise-linear bins of quantities: the encoding of numbers for networks and the linear model.

Piecewise-linear encoding (Gorishniy et al., 2022, "On embeddings for numerical features in tabular deep learning"):
bin k of a quantity is 0 below its lower edge, 1 above its upper one, and linear in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtri

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAIL_QUANTILES = (0.01, 0.99)
LEAST_SHARE = 1e-3
"""Minimum distance of a rank from 0 and 1, which limits normal scores to 3.1."""
MOST_INPUTS = 480
"""Approximate number of bins of all quantities together; a wide table gets fewer bins per quantity."""


@dataclass(frozen=True, slots=True)
class Bins:
    """Edges of the bins of some columns, and the normal score at each edge.

    Attributes
    ----------
    columns : ndarray of int64, shape (q,)
        Columns of the matrix that are quantities.
    others : ndarray of int64, shape (o,)
        The columns that are handed on as they are.
    lower, inverse : ndarray of float32, shape (q, bins)
        Lower edge of each bin and one over its width; 0 where a quantity has fewer bins.
    rises : ndarray of float32, shape (q, bins)
        By how much the normal score rises over each bin.
    start : ndarray of float32, shape (q,)
        The normal score at the lowest edge.
    """

    columns: NDArray[np.int64]
    others: NDArray[np.int64]
    lower: NDArray[np.float32]
    inverse: NDArray[np.float32]
    rises: NDArray[np.float32]
    start: NDArray[np.float32]

    @property
    def width(self) -> int:
        """Number of columns of `encode`."""
        return int(self.lower.size) + len(self.others)

    def positions_of(self, some: Bins) -> NDArray[np.int64]:
        """Return the positions of the encoded columns of `some` among those of this object.

        Returns
        -------
        ndarray of int64, shape (encoded columns of `some`,)
        """
        cells = self.lower.shape[1]
        rows = np.searchsorted(self.columns, some.columns)
        binned = (rows[:, None] * cells + np.arange(cells)).reshape(-1)
        return np.concatenate([binned, self.lower.size + np.searchsorted(self.others, some.others)]).astype(np.int64)

    def encode(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return bins, then the other columns, shape (n, width), for the preprocessor's matrix."""
        values = matrix[:, self.columns, None]
        bins = np.clip((values - self.lower) * self.inverse, 0, 1).reshape(len(matrix), -1)
        return np.concatenate([bins, matrix[:, self.others]], axis=1, dtype=np.float32)


def limit_bins(quantities: int, most: int) -> int:
    """Return the bins of a quantity, at most `most`, that keep a wide table's within `MOST_INPUTS`."""
    return max(2, min(most, MOST_INPUTS // max(1, quantities)))


def find_bins(
    matrix: NDArray[np.float32], quantities: NDArray[np.int64], columns: NDArray[np.int64], most: int
) -> Bins:
    """Choose edges at quantiles, or at every value of a quantity with few values.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, width)
    quantities : ndarray of int64
        Columns that are quantities.
    columns : ndarray of int64
        All columns to encode.
    most : int
        Bins of a quantity, at most.
    """
    binned = np.intersect1d(quantities, columns)
    lower = np.zeros((len(binned), most), np.float32)
    inverse, rises = np.zeros_like(lower), np.zeros_like(lower)
    start = np.zeros(len(binned), np.float32)
    for row, column in enumerate(binned):
        edges, scores = _find_edges(matrix[:, column].astype(np.float64), most)
        start[row] = scores[0]
        widths = np.diff(edges)
        lower[row, : len(widths)] = edges[:-1]
        inverse[row, : len(widths)] = 1 / np.maximum(widths, 1e-12)
        rises[row, : len(widths)] = np.diff(scores)
    return Bins(binned, np.setdiff1d(columns, binned), lower, inverse, rises, start)


def _find_edges(values: NDArray[np.float64], most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return edges and the normal score of the mean rank at each."""
    distinct, counts = np.unique(values, return_counts=True)
    ranks = (counts.cumsum() - counts / 2) / len(values)
    if len(distinct) > most + 1:
        inner = np.linspace(0, 1, most - len(TAIL_QUANTILES) + 1) if most > 4 else np.linspace(0, 1, most + 1)
        wanted = np.union1d(inner, TAIL_QUANTILES) if most > 4 else inner
        places = np.unique(np.searchsorted(counts.cumsum() / len(values), wanted).clip(0, len(distinct) - 1))
        distinct, ranks = distinct[places], ranks[places]
    return distinct, np.asarray(ndtri(ranks.clip(LEAST_SHARE, 1 - LEAST_SHARE)), dtype=np.float64)
