"""Columns that predict the label by themselves, because they were filled in after the customer had left."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.errors import TableError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.schema import Feature, Schema

LEAK_AUC = 0.99
"""A single column with a larger area under the ROC curve is a leak."""

JUMP_AUC, JUMP_FACTOR = 0.95, 5.0
"""So is one above this area, if the best of the other columns is this many times as far from an area of 1."""

FOLDS = 5
BINS = 64
"""Most bins of a quantity; one with fewer different values has a bin for each."""

MIN_CUSTOMERS = 10
"""Of each class. Fewer say nothing about a column."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that predicts the label by itself.

    Attributes
    ----------
    name : str
    auc : float
        Area under the ROC curve of that column alone, out of fold.
    """

    name: str
    auc: float


def refuse_leaks(
    path: Path, schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64], keep: Collection[str] = ()
) -> None:
    """Stop where a column predicts the label by itself, unless the user said to keep it.

    Parameters
    ----------
    path : Path
        The table, for the message.
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        0 or 1.
    keep : collection of str
        Columns that may predict the label.

    Raises
    ------
    TableError
        Naming the columns and the two ways on.
    """
    leaks = [leak for leak in find_leaks(schema, raw, labels) if leak.name not in keep]
    if not leaks:
        return
    listed = "\n".join(f"  {leak.name} (AUC {leak.auc:.4f} by itself, out of fold)" for leak in leaks)
    ways = (" ".join(f"{option} {shlex.quote(leak.name)}" for leak in leaks) for option in ("--drop", "--keep"))
    raise TableError(
        f"{path}: {len(leaks)} column{'s' * (len(leaks) > 1)} predict{'s' * (len(leaks) == 1)} the label too well; "
        f"such a column is usually filled in after the customer has left, or is another model's output:\n{listed}\n"
        f"Leave out with: {next(ways)}\nOr keep what is known before a customer leaves: {next(ways)}"
    )


def find_leaks(schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64]) -> list[Leak]:
    """Find the columns whose area under the ROC curve is above `LEAK_AUC`, or far above that of all others.

    Returns
    -------
    list of Leak
        The best first.
    """
    left = labels == 1
    if min(left.sum(), (~left).sum()) < MIN_CUSTOMERS:
        return []
    found = [
        Leak(feature.name, judge_column(feature, column, left))
        for feature, column in zip(schema.features, raw.T, strict=True)
    ]
    found.sort(key=lambda leak: -leak.auc)
    leaks = [leak for leak in found if leak.auc > LEAK_AUC]
    rest = found[len(leaks) :]
    for position, leak in enumerate(rest):
        best_other = max((other.auc for other in rest[position + 1 :]), default=0.5)
        if leak.auc > JUMP_AUC and 1 - best_other >= JUMP_FACTOR * (1 - leak.auc):
            return [*leaks, *rest[: position + 1]]
    return leaks


def judge_column(feature: Feature, column: NDArray[np.float64], left: NDArray[np.bool_]) -> float:
    """Return how well a column alone ranks the customers: the area under the ROC curve, out of fold.

    Of a quantity, the better of its order, in either direction, and of bins, which also find what lies in the middle.
    """
    missing = np.isnan(column)
    if not feature.is_quantity:
        codes = np.where(missing, -1, column).astype(np.int64) + 1
        return _judge_codes(codes, left)
    present = column[~missing]
    if not len(present):
        return 0.5
    values = np.unique(present)
    edges = values[1:]
    if len(values) > BINS:
        edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1]))
    codes = np.searchsorted(edges, column, side="right")
    codes[missing] = len(edges) + 1
    order = _area(np.where(missing, -np.inf, column), left)
    return max(order, 1 - order, _judge_codes(codes, left))


def _judge_codes(codes: NDArray[np.int64], left: NDArray[np.bool_]) -> float:
    """Return the area of the shares of leavers by code, each counted on the other folds."""
    folds = np.random.default_rng(0).permutation(len(codes)) % FOLDS
    shape = (FOLDS, int(codes.max()) + 1)
    cells = np.ravel_multi_index((folds, codes), shape)
    customers = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    leavers = np.bincount(cells, weights=left, minlength=shape[0] * shape[1]).reshape(shape)
    # Drawn to the mean by one customer, so that a code that the other folds lack says nothing.
    shares = (leavers.sum(0) - leavers + left.mean()) / (customers.sum(0) - customers + 1)
    return _area(shares[folds, codes], left)


def _area(scores: NDArray[np.float64], left: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: the share of pairs in the right order, ties counted half."""
    _, ranks = np.unique(scores, return_inverse=True)
    leavers, stayers = (np.bincount(ranks[chosen], minlength=int(ranks.max()) + 1) for chosen in (left, ~left))
    below = np.cumsum(stayers) - stayers
    return float(leavers @ (below + stayers / 2) / (leavers.sum() * stayers.sum()))
