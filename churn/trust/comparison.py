"""Made-up customers on which two engines, or a model and an altered one, are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema

MISSING_SHARE = 0.1


def draw_raw(schema: Schema, rows: int, seed: int = 0) -> NDArray[np.float64]:
    """Draw each column independently and evenly from what the schema allows, or from the range seen in training.

    Parameters
    ----------
    schema : Schema
    rows : int
    seed : int

    Returns
    -------
    ndarray of float64, shape (rows, features)
        A raw matrix.
    """
    generator = np.random.default_rng(seed)
    return np.column_stack([_draw(feature, rows, generator) for feature in schema.features])


def _draw(feature: Feature, rows: int, generator: np.random.Generator) -> NDArray[np.float64]:
    if feature.is_quantity:
        low = feature.trained_minimum if feature.trained_minimum is not None else feature.minimum or 0.0
        high = feature.trained_maximum if feature.trained_maximum is not None else feature.maximum or low + 1.0
        column = generator.uniform(low, max(low, high), rows)
        if feature.kind != "number":
            column = column.round()
    else:
        column = generator.integers(len(feature.levels) or 2, size=rows).astype(np.float64)
    if feature.nullable:
        column[generator.random(rows) < MISSING_SHARE] = np.nan
    return column
