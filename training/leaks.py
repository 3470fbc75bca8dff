"""Detection of target leakage: columns that predict the label almost perfectly on their own."""

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

    from churn.feature import Feature
    from churn.schema import Schema

LEAK_AUC = 0.99
"""A single column with an AUC above this is a leak."""

JUMP_AUC, JUMP_FACTOR = 0.95, 5.0
"""A column with an AUC above this is also a leak, if the best other column is this many times further from 1."""

FOLDS = 5
BINS = 64
"""Maximum number of bins of a number; with fewer distinct values, each has its own bin."""

MIN_CUSTOMERS = 10
"""Minimum number of customers per class for judging a column."""


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that predicts the label on its own.

    Attributes
    ----------
    name : str
    auc : float
        Out-of-fold AUC of this column alone.
    """

    name: str
    auc: float


def refuse_leaks(
    path: Path, schema: Schema, raw: NDArray[np.float64], labels: NDArray[np.float64], keep: Collection[str] = ()
) -> None:
    """Raise an error if a column predicts the label on its own, unless it is in `keep`.

    Parameters
    ----------
    path : Path
        Path of the table, for messages.
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        0 or 1.
    keep : collection of str
        Columns that are allowed to predict the label.

    Raises
    ------
    TableError
        If there are such columns; the message names them and the possible options.
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
    """Return the columns with an AUC above `LEAK_AUC`, or far above that of all others.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    labels : ndarray of float64, shape (n,)
        1 for a customer who left, 0 for one who stayed.

    Returns
    -------
    list of Leak
        In descending order of AUC.
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
    """Return the out-of-fold AUC of a single column.

    For numbers, this is the maximum of the AUC of the values, in either direction, and of bins, which also detect
    non-monotonic effects.

    Parameters
    ----------
    feature : Feature
    column : ndarray of float64, shape (n,)
        Encoded values; NaN is a missing value.
    left : ndarray of bool, shape (n,)
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
    """Return the AUC of the shares of leavers by code, computed on the other folds."""
    folds = np.random.default_rng(0).permutation(len(codes)) % FOLDS
    shape = (FOLDS, int(codes.max()) + 1)
    cells = np.ravel_multi_index((folds, codes), shape)
    customers = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    leavers = np.bincount(cells, weights=left, minlength=shape[0] * shape[1]).reshape(shape)
    # Shrunk towards the mean by one customer, so that codes missing in the other folds are neutral.
    shares = (leavers.sum(0) - leavers + left.mean()) / (customers.sum(0) - customers + 1)
    return _area(shares[folds, codes], left)


def _area(scores: NDArray[np.float64], left: NDArray[np.bool_]) -> float:
    """Return the AUC: the share of correctly ordered pairs, with ties counting half."""
    _, ranks = np.unique(scores, return_inverse=True)
    leavers, stayers = (np.bincount(ranks[chosen], minlength=int(ranks.max()) + 1) for chosen in (left, ~left))
    below = np.cumsum(stayers) - stayers
    return float(leavers @ (below + stayers / 2) / (leavers.sum() * stayers.sum()))
