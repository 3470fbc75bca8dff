"""Histograms of the training customers, the reference for drift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.feature import OTHER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

QUANTITY_BINS = 10
LEVEL_BINS = 50
"""Most bins of an open category: the last one has all levels behind the first ones, which are the most frequent."""
SCORE_BINS = 20


def count_features(schema: Schema, raw: NDArray[np.float64]) -> dict[str, Any]:
    """Count customers by feature and bin.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.

    Returns
    -------
    dict
        For each feature ``counts`` and ``missing``. Numbers have ``edges`` (inner edges, ascending; a value equal to
        an edge belongs to the bin above), other features ``values``.
    """
    return count_between(schema, raw, find_edges(schema, raw))


def find_edges(schema: Schema, raw: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return the inner bin edges of each feature; empty for features whose bins are values.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    """
    return [
        _find_edges(column[~np.isnan(column)]) if feature.is_quantity else np.empty(0)
        for feature, column in zip(schema.features, raw.T, strict=True)
    ]


def count_between(schema: Schema, raw: NDArray[np.float64], edges: list[NDArray[np.float64]]) -> dict[str, Any]:
    """Count customers as `count_features` does, with given edges.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    edges : list of ndarray of float64, shape (bins - 1,)
        Of each feature, ascending.
    """
    columns = zip(schema.features, raw.T, edges, strict=True)
    return {feature.name: _count(feature, column, inner) for feature, column, inner in columns}


def _count(feature: Feature, column: NDArray[np.float64], edges: NDArray[np.float64]) -> dict[str, Any]:
    present = column[~np.isnan(column)]
    missing = int(len(column) - len(present))
    if not feature.is_quantity:
        values = list(feature.levels) or ["0", "1"]
        if feature.open and len(values) > LEVEL_BINS:
            values = [*values[: LEVEL_BINS - 1], OTHER]
        counts = np.bincount(np.minimum(present.astype(np.int64), len(values) - 1), minlength=len(values))
        return {"values": values, "counts": counts.tolist(), "missing": missing}
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist(), "missing": missing}


def _find_edges(present: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return edges of bins with about the same number of customers, or of single values if there are few."""
    values = np.unique(present)
    if len(values) <= QUANTITY_BINS:
        return values[1:]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, QUANTITY_BINS + 1)[1:-1]))
    above: NDArray[np.float64] = edges[edges > values[0]]  # the bin below the smallest value would be empty
    return above


def count_scores(probabilities: NDArray[np.float64], weights: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Return weighted counts of probabilities in `SCORE_BINS` equal-width bins.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (n,)
    weights : ndarray of int64, shape (n,), optional
        Number of customers with each probability. Defaults to 1.
    """
    counts, edges = np.histogram(probabilities, bins=SCORE_BINS, range=(0, 1), weights=weights)
    return {"edges": edges[1:-1].tolist(), "counts": counts.tolist()}
