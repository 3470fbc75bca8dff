"""Fits the scaler and encoder with scikit-learn, and reads their numbers out for `churn.preprocessing`."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from churn.preprocessing import Preprocessor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.schema import Schema

FIT_ROWS = 200_000
"""Rows the scaler is fitted on at most: its numbers no longer move beyond."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How columns become a matrix.

    Attributes
    ----------
    drop_first : bool
        Leave out the first category of each: the others imply it.
    scale_all : bool
        Scale indicators too, not only quantities.
    max_levels : int
        A quantity with at most this many different values is also one-hot encoded. 0: none is.
    spike_share : float
        A value that holds at least this share of a quantity of more levels gets an indicator. 1: none does.
    """

    drop_first: bool = False
    scale_all: bool = False
    max_levels: int = 12
    spike_share: float = 0.1


def as_objects(schema: Schema, raw: NDArray[np.float64]) -> NDArray[np.object_]:
    """Turn a raw matrix back into the values a person wrote: categories as text, NaN where one is missing.

    Returns
    -------
    ndarray of object, shape (n, features)
        What the fitted scikit-learn transformer takes.
    """
    table = raw.astype(object)
    for position, feature in enumerate(schema.features):
        if feature.kind == "category":
            words = np.array([*feature.categories, np.nan], dtype=object)
            codes = np.where(np.isnan(raw[:, position]), len(feature.categories), raw[:, position])
            table[:, position] = words[codes.astype(np.int64)]
    return table


def fit_preprocessor(schema: Schema, raw: NDArray[np.float64], encoding: Encoding) -> tuple[Pipeline, Preprocessor]:
    """Fit scikit-learn's transformer on training customers.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Training customers alone: what is fitted on others leaks.
    encoding : Encoding

    Returns
    -------
    transformer : Pipeline
        Takes the objects of `as_objects`, gives the network's matrix.
    preprocessor : Preprocessor
        The same without scikit-learn, taking the raw matrix.
    """
    layout = _lay_out(schema, raw[:FIT_ROWS], encoding)
    blocks: list[tuple[str, Any, list[int]]] = []
    if layout.values:
        blocks.append(("values", SimpleImputer(strategy="median", keep_empty_features=True), layout.values))
    if layout.categories:
        words = [list(schema.features[position].categories) for position in layout.categories]
        blocks.append(("categories", _one_hot(words, drop_first=encoding.drop_first), layout.categories))
    if layout.levels:
        blocks.append(("levels", _one_hot(list(layout.levels.values())), list(layout.levels)))
    if layout.gaps:
        blocks.append(("gaps", MissingIndicator(features="all"), layout.gaps))
    # The quantities come first, so a transformer of the first columns keeps the order.
    scaler: Any = StandardScaler()
    if not encoding.scale_all and not layout.quantities:
        scaler = "passthrough"
    elif not encoding.scale_all:
        scaler = ColumnTransformer([("quantities", scaler, slice(0, layout.quantities))], remainder="passthrough")
    transformer = Pipeline([("columns", ColumnTransformer(blocks)), ("scale", scaler)])
    with quiet_about_gaps():
        transformer.fit(as_objects(schema, raw[:FIT_ROWS]))
    return transformer, _read_out(schema, layout, encoding, transformer)


@contextmanager
def quiet_about_gaps() -> Iterator[None]:
    """Keep scikit-learn from warning that a missing category is encoded as all zeros: its indicator marks it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
        yield


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which raw columns go into which block of the matrix."""

    values: list[int]
    quantities: int
    categories: list[int]
    levels: dict[int, list[float]]
    gaps: list[int]


def _lay_out(schema: Schema, raw: NDArray[np.float64], encoding: Encoding) -> _Layout:
    features = list(enumerate(schema.features))
    quantities = [position for position, feature in features if feature.is_numeric]
    flags = [position for position, feature in features if feature.kind == "flag"]
    levels = {position: _find_levels(raw[:, position], encoding) for position in quantities}
    return _Layout(
        values=quantities + flags,
        quantities=len(quantities),
        categories=[position for position, feature in features if feature.kind == "category"],
        levels={position: found for position, found in levels.items() if found},
        gaps=[position for position, feature in features if feature.nullable],
    )


def _find_levels(column: NDArray[np.float64], encoding: Encoding) -> list[float]:
    """Return the values of a quantity that deserve a column each: all if they are few, else the frequent ones."""
    numbers, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if len(numbers) <= encoding.max_levels:
        return [float(number) for number in numbers]
    return [float(number) for number in numbers[counts >= encoding.spike_share * len(column)]]


def _one_hot(categories: list[Any], *, drop_first: bool = False) -> OneHotEncoder:
    return OneHotEncoder(
        categories=categories, drop="first" if drop_first else None, handle_unknown="ignore", sparse_output=False
    )


def _read_out(schema: Schema, layout: _Layout, encoding: Encoding, transformer: Pipeline) -> Preprocessor:
    columns, scaler = transformer.named_steps["columns"], transformer.named_steps["scale"]
    names = [schema.features[position].name for position in layout.values]
    sources: list[int] = []
    equals: list[float] = []
    for position in layout.categories:
        words = schema.features[position].categories
        for code in range(1 if encoding.drop_first else 0, len(words)):
            sources.append(position)
            equals.append(float(code))
            names.append(f"{schema.features[position].name} is {words[code]}")
    for position, numbers in layout.levels.items():
        sources += [position] * len(numbers)
        equals += numbers
        names += [f"{schema.features[position].name} is {number:g}" for number in numbers]
    names += [f"{schema.features[position].name} is missing" for position in layout.gaps]
    center, scale = np.zeros(len(names)), np.ones(len(names))
    if encoding.scale_all:
        center, scale = scaler.mean_, scaler.scale_
    elif layout.quantities:
        fitted = scaler.named_transformers_["quantities"]
        center[: layout.quantities], scale[: layout.quantities] = fitted.mean_, fitted.scale_
    return Preprocessor(
        names=tuple(names),
        value_source=np.array(layout.values, dtype=np.int64),
        value_fill=columns.named_transformers_["values"].statistics_ if layout.values else np.empty(0),
        equal_source=np.array(sources, dtype=np.int64),
        equal_value=np.array(equals, dtype=np.float64),
        missing_source=np.array(layout.gaps, dtype=np.int64),
        center=np.asarray(center, dtype=np.float64),
        scale=np.asarray(scale, dtype=np.float64),
    )
