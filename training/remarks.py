"""Remarks on features that may be of another kind than inferred."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from training.cells import as_numbers, count_words
from training.codes import find_signs
from training.doubts import KEY_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from churn.feature import Feature
    from training.tables import Table

NEAR_KEY_SHARE = 0.98
"""Integers with at least this share of distinct values may be identifiers."""


def find_remarks(
    table: Table, features: Sequence[Feature], labels: NDArray[np.float64], *, as_told: Collection[str]
) -> list[str]:
    """Return a sentence for each number that may be a code or an identifier, and for each pooled category.

    Parameters
    ----------
    table : Table
    features : sequence of Feature
        Inferred features.
    labels : ndarray of float64, shape (n,)
        0, 1, or NaN where the label is missing.
    as_told : collection of str
        Columns specified by the user.
    """
    remarks: list[str | None] = []
    for feature in features:
        if feature.open:
            remarks.append(_describe_pooled(table, feature))
        # `find_doubts` has named the ways on for the name of a key.
        elif feature.is_numeric and feature.name not in as_told and not KEY_NAME.search(feature.name):
            numbers = as_numbers(table.columns[feature.name], table.decimals.get(feature.name, "."))[0]
            remarks.append(_doubt_numbers(feature, numbers, labels))
    return [remark for remark in remarks if remark is not None]


def _describe_pooled(table: Table, feature: Feature) -> str:
    counts = count_words(table.columns[feature.name])
    share = sum(counts.get(level, 0) for level in feature.categories) / max(sum(counts.values()), 1)
    others = len(counts) - len(feature.categories)
    pooled = f"; the other {others:,} are pooled as one ({1 - share:.1%} of the rows)" if others else ""
    return f"{feature.name} has many levels: {len(feature.categories)} are listed{pooled}. New ones are accepted."


def _doubt_numbers(feature: Feature, numbers: NDArray[np.float64], labels: NDArray[np.float64]) -> str | None:
    name = shlex.quote(feature.name)
    signs = find_signs(feature.name, numbers, labels)
    if signs:
        return (
            f"{feature.name} is taken for a number, and may be a code ({'; '.join(signs)}): --category {name} takes it "
            "for a category."
        )
    distinct = len(np.unique(numbers[~np.isnan(numbers)]))
    if feature.kind == "integer" and distinct > NEAR_KEY_SHARE * len(numbers):
        return (
            f"{feature.name} is taken for a number, and may name the customer ({distinct:,} different values in "
            f"{len(numbers):,} rows): --drop {name} leaves it out."
        )
    return None
