"""Translate raw matrices between the schemas of two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.columns import find_wrong_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema


class Translator:
    """Translates customers from the raw matrix of one schema to that of another.

    Columns are found by name. A customer can't be translated if the other schema does not allow a value, or if a column
    that it needs does not exist. Values of an open category that the first schema does not list are lost in its matrix:
    they are translated to the level for such values, if the second schema lists no categories beyond the first one's.

    Parameters
    ----------
    source, target : Schema
    """

    def __init__(self, source: Schema, target: Schema) -> None:
        places = {name: position for position, name in enumerate(source.names)}
        self._features = [
            (feature, places.get(feature.name), _map_levels(source, feature)) for feature in target.features
        ]
        kinds = {feature.name: feature.kind for feature in source.features}
        self._is_possible = all(_is_alike(kinds.get(feature.name), feature) for feature in target.features)

    def translate(self, raw: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Translate customers.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, source features)

        Returns
        -------
        translated : ndarray of float64, shape (m, target features)
            Those that can be translated.
        allowed : ndarray of bool, shape (n,)
            Which these are.
        """
        allowed = np.full(len(raw), self._is_possible)
        out = np.full((len(raw), len(self._features)), np.nan)
        if not self._is_possible:
            return out[:0], allowed
        for position, (feature, place, levels) in enumerate(self._features):
            if place is None:
                continue  # a missing value, which the feature allows
            values = raw[:, place]
            gaps = np.isnan(values)
            if levels is not None:
                values = levels[np.where(gaps, 0, values).astype(np.intp)]
                allowed &= gaps | ~np.isnan(values)
                values = np.where(gaps, np.nan, values)
            elif feature.kind != "date":
                allowed &= gaps | ~find_wrong_numbers(feature, values)
            if not feature.nullable:
                allowed &= ~gaps
            out[:, position] = values
        return out[allowed], allowed


def _is_alike(kind: str | None, feature: Feature) -> bool:
    """Return whether values of a kind, or none, can be values of a feature."""
    if kind is None:
        return feature.nullable
    if feature.kind in ("category", "date") or kind in ("category", "date"):
        return kind == feature.kind
    return True


def _map_levels(source: Schema, feature: Feature) -> NDArray[np.float64] | None:
    """Return the raw value for each level of the source, NaN where it is not allowed; None if it is no category."""
    if feature.kind != "category" or feature.name not in source.names or source[feature.name].kind != "category":
        return None
    known = source[feature.name]
    values = {level: float(position) for position, level in enumerate(feature.categories)}
    other = float(len(feature.categories)) if feature.open else np.nan
    mapped = [values.get(level, other) for level in known.categories]
    if known.open:
        is_lost = not set(feature.categories) <= set(known.categories)
        mapped.append(np.nan if is_lost else other)
    return np.array(mapped)
