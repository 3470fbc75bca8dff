"""Golden rows: made-up customers with the probabilities that the model must always return for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import write_date
from training.infer import plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.schema import Schema

ROWS = 32


def draw_golden_rows(raw: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Draw each column independently from the table, so that no row is a real customer.

    Returns
    -------
    ndarray of float64, shape (`ROWS`, features)
    """
    generator = np.random.default_rng(seed)
    return np.column_stack([generator.choice(column, ROWS) for column in raw.T])


def as_customers(schema: Schema, raw: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Convert a raw matrix to customers in the form of a request.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        The raw matrix of `churn.columns`.
    """
    return [
        {feature.name: _as_value(feature, number) for feature, number in zip(schema.features, row, strict=True)}
        for row in raw.tolist()
    ]


def _as_value(feature: Any, number: float) -> Any:  # noqa: ANN401  a JSON value
    if np.isnan(number):
        return None
    if feature.kind == "date":
        return write_date(number)
    return feature.levels[int(number)] if feature.kind == "category" else plain(number)
