"""Month and day of the week as further inputs of a date, where they tell who leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from churn.dates import DATE_PARTS
from training.default.folds import losses_of, mean_and_error
from training.level_statistics import count_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from churn.dates import DatePart
    from training.level_statistics import FoldedLabels

CLEARLY = 2.0
"""Standard errors by which a part must lower the loss out of fold."""
LEAST_DAYS: Mapping[DatePart, int] = {"month": 400, "weekday": 14}
"""Days between the 1st and 99th percentile of the dates, below which a part hardly recurs and the days say it all."""


def choose_parts(days: NDArray[np.float64], told: FoldedLabels) -> tuple[DatePart, ...]:
    """Return the parts of a date that predict who leaves, out of fold, better than the share of leavers.

    Parameters
    ----------
    days : ndarray of float64, shape (n,)
        Days since 1970-01-01; NaN is a missing value.
    told : FoldedLabels
    """
    present = days[~np.isnan(days)]
    if not len(present) or not told.folds:
        return ()
    low, high = np.quantile(present, (0.01, 0.99))
    return tuple(part for part, least in LEAST_DAYS.items() if high - low >= least and _gains(_read(days, part), told))


def _gains(levels: NDArray[np.float64], told: FoldedLabels) -> bool:
    """Return whether the share of leavers by level has a clearly lower loss out of fold than the share of all.

    Rows without a date don't count: that they have none is an input of its own.
    """
    present = ~np.isnan(levels)
    codes = np.where(present, levels, 0).astype(np.int64)
    gains = []
    for fold, held_out in told.folds:
        rows, asked = fold[present[fold]], held_out[present[held_out]]
        labels, known = told.labels[rows], told.labels[asked]
        if not len(asked) or not 0 < labels.sum() < len(labels):
            return False
        base = np.log(labels.mean() / (1 - labels.mean()))
        logits = base + count_levels(codes[rows], labels, int(codes.max()))[codes[asked]]
        gains.append(losses_of(known, np.full(len(known), base)) - losses_of(known, logits))
    gain, error = mean_and_error(np.concatenate(gains))
    return gain > CLEARLY * error


def _read(days: NDArray[np.float64], part: DatePart) -> NDArray[np.float64]:
    """Return a part of dates; NaN stays."""
    absent = np.isnan(days)
    found = DATE_PARTS[part](np.where(absent, 0, days).astype(np.int64))
    return np.where(absent, np.nan, found)


class DateParts(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn ships no types
    """Scikit-learn's form of date parts: takes a column of days a date, gives a column a part.

    Parameters
    ----------
    parts : list of tuple of DatePart
        The parts of each column.
    """

    def __init__(self, parts: Sequence[tuple[DatePart, ...]]) -> None:
        self.parts = parts

    def fit(self, _: Any, y: Any = None) -> DateParts:  # noqa: ANN401, ARG002  scikit-learn's signature
        """Return itself: there is nothing to fit."""
        self.n_features_in_ = len(self.parts)
        return self

    def transform(self, columns: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return the parts, shape (n, parts); NaN for a missing date."""
        return np.stack(
            [
                _read(column.astype(np.float64), part)
                for column, parts in zip(columns.T, self.parts, strict=True)
                for part in parts
            ],
            axis=1,
        )
