"""Fit the scaler and encoder with scikit-learn and extract their parameters for `churn.preprocessing`."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from churn.errors import BundleError
from churn.preprocessing import Preprocessor
from training.date_parts import DateParts, choose_parts
from training.level_statistics import FoldedLabels, LevelStatistics, LevelTable, fit_level_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from churn.dates import DatePart
    from churn.schema import Schema

FIT_ROWS = 200_000
"""Maximum number of rows for fitting the scaler; more rows no longer change its parameters."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Encoding of columns as inputs of the network.

    Attributes
    ----------
    drop : {"first", "if_binary"} or None
        Features whose first category is dropped, because the others imply it: all, those with two, or none.
    scale_all : bool
        Whether indicators are scaled as well as numbers.
    max_levels : int
        Numbers with at most this many distinct values are also one-hot encoded. 0 disables this.
    only_levels : int
        Numbers with at most this many distinct values are only one-hot encoded.
    spike_share : float
        A value that holds at least this share of a quantity of more levels gets an indicator, and the quantity
        itself is scaled without it. 1: none does.
    level_rows : int
        Least rows of a category's level that gets a column; all rarer ones have none, and so are alike.
    most_levels : int
        A category with more such levels gets statistics of its levels instead, where labels are given, and else
        columns for its most frequent levels alone.
    """

    drop: Literal["first", "if_binary"] | None = None
    scale_all: bool = False
    max_levels: int = 12
    only_levels: int = 6
    spike_share: float = 0.1
    level_rows: int = 0
    most_levels: int = 1_000_000


PLAIN = Encoding(drop="first", scale_all=True, max_levels=0, only_levels=0, spike_share=1.0)
"""Conventional encoding: one-hot categories without their first level, everything scaled."""


def as_objects(schema: Schema, raw: NDArray[np.float64]) -> NDArray[np.object_]:
    """Convert a raw matrix back to the original values: categories as strings, NaN for missing values.

    Returns
    -------
    ndarray of object, shape (n, features)
        Input of the scikit-learn transformer.
    """
    table = raw.astype(object)
    for position, feature in enumerate(schema.features):
        if feature.kind == "category":
            words = np.array([*feature.levels, np.nan], dtype=object)
            codes = np.where(np.isnan(raw[:, position]), len(feature.levels), raw[:, position])
            table[:, position] = words[codes.astype(np.int64)]
    return table


def fit_preprocessor(schema: Schema, raw: NDArray[np.float64], encoding: Encoding) -> tuple[Pipeline, Preprocessor]:
    """Fit the scikit-learn transformer on training customers.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Training customers only, to avoid leakage.
    encoding : Encoding

    Returns
    -------
    transformer : Pipeline
        Transforms the objects of `as_objects` to the input of the network.
    preprocessor : Preprocessor
        The same transformation of the raw matrix without scikit-learn.
    """
    transformer, preprocessor, _ = fit_with_statistics(schema, raw, encoding, None)
    return transformer, preprocessor


def fit_with_statistics(
    schema: Schema, raw: NDArray[np.float64], encoding: Encoding, told: FoldedLabels | None
) -> tuple[Pipeline, Preprocessor, dict[int, NDArray[np.float32]]]:
    """Fit the transformer, with label statistics for categories of many levels, and parts of dates that tell something.

    Parameters
    ----------
    schema, raw, encoding
        As for `fit_preprocessor`.
    told : FoldedLabels or None
        The labels; None: no category gets statistics, and no date parts.

    Returns
    -------
    transformer, preprocessor : Pipeline, Preprocessor
    inner : dict of int to ndarray of float32, shape (n,)
        By column of statistics: what the rows that its fold is fitted on get instead.
    """
    sample = raw[:FIT_ROWS]
    layout = _lay_out(schema, sample, encoding, statistics=told is not None)
    if told is not None:
        dates = [position for position, feature in enumerate(schema.features) if feature.kind == "date"]
        layout.parts = {position: parts for position in dates if (parts := choose_parts(raw[:, position], told))}
    if told is not None and layout.many:
        counts = {position: len(schema.features[position].levels) for position in layout.many}
        layout.tables, inner = fit_level_tables(raw, told, counts)
    else:
        inner = []
    transformer = Pipeline([("columns", _make_columns(schema, layout)), ("scale", _make_scaler(layout, encoding))])
    with quiet_about_gaps():
        transformer.fit(as_objects(schema, sample))
    preprocessor = _read_out(schema, layout, transformer)
    return transformer, preprocessor, dict(enumerate(inner, preprocessor.width - len(inner)))


def restore_transformer(
    schema: Schema, raw: NDArray[np.float64], encoding: Encoding, preprocessor: Preprocessor
) -> Pipeline:
    """Return the scikit-learn transformer that an earlier preprocessor was extracted from.

    Parameters
    ----------
    schema : Schema
    raw : ndarray of float64, shape (n, features)
        Any customers; the transformer is fitted on them before its numbers are replaced.
    encoding : Encoding
        One whose columns depend on the schema alone, such as `PLAIN`.
    preprocessor : Preprocessor

    Raises
    ------
    BundleError
        If the columns of the preprocessor are not those of the encoding.
    """
    transformer, fitted = fit_preprocessor(schema, raw, encoding)
    columns, scaler = transformer.named_steps["columns"], transformer.named_steps["scale"]
    if fitted.names != preprocessor.names or not isinstance(scaler, StandardScaler):
        raise BundleError("no warm start: the columns of its preprocessor are not those of this network")
    if len(preprocessor.value_fill):
        columns.named_transformers_["values"].statistics_ = preprocessor.value_fill
    scaler.mean_, scaler.scale_, scaler.var_ = preprocessor.center, preprocessor.scale, preprocessor.scale**2
    return transformer


@contextmanager
def quiet_about_gaps() -> Iterator[None]:
    """Suppress scikit-learn's warning that a missing category is encoded as zeros, since it has an indicator."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Found unknown categories", category=UserWarning)
        yield


@dataclass(slots=True)
class _Layout:
    """Assignment of raw columns to blocks of the matrix.

    Attributes
    ----------
    plain, spiked, flags : list of int
        The block of values: quantities, quantities with a spike, flags.
    categories : dict of int to list of int
        The codes of a category that have a column each.
    levels : dict of int to list of float
        Values of a number that have an indicator each.
    gaps : list of int
    many : list of int
        Categories of too many levels for a column each.
    tables : list of LevelTable
        Their statistics.
    parts : dict of int to tuple of DatePart
        What is read from a date besides its days.
    """

    plain: list[int]
    spiked: list[int]
    flags: list[int]
    categories: dict[int, list[int]]
    levels: dict[int, list[float]]
    gaps: list[int]
    many: list[int]
    tables: list[LevelTable] = field(default_factory=list)
    parts: dict[int, tuple[DatePart, ...]] = field(default_factory=dict)

    @property
    def values(self) -> list[int]:
        return self.plain + self.spiked + self.flags


def _lay_out(schema: Schema, raw: NDArray[np.float64], encoding: Encoding, *, statistics: bool) -> _Layout:
    positions: dict[str, list[int]] = {"number": [], "flag": [], "category": []}
    for position, feature in enumerate(schema.features):
        positions["number" if feature.is_quantity else feature.kind].append(position)
    plain, spiked, levels = [], [], {}
    for position in positions["number"]:
        numbers, spikes = _find_levels(raw[:, position], encoding)
        if numbers or spikes:
            levels[position] = numbers or spikes
        if spikes:
            spiked.append(position)
        elif not 0 < len(numbers) <= encoding.only_levels:
            plain.append(position)
    gaps = [position for position, feature in enumerate(schema.features) if feature.nullable]
    categories, many = {}, []
    for position in positions["category"]:
        codes = _choose_codes(raw[:, position], len(schema.features[position].levels), encoding)
        if statistics and len(codes) > encoding.most_levels:
            many.append(position)
        else:
            categories[position] = codes[: encoding.most_levels]
    return _Layout(plain, spiked, positions["flag"], categories, levels, gaps, many)


def _choose_codes(column: NDArray[np.float64], levels: int, encoding: Encoding) -> list[int]:
    """Return the codes of a category that may have a column each, the most frequent first if some must go."""
    counts = np.bincount(column[~np.isnan(column)].astype(np.int64), minlength=levels)[:levels]
    if encoding.drop == "first" or (encoding.drop == "if_binary" and levels == 2):
        return list(range(1, levels))
    kept = np.flatnonzero(counts >= encoding.level_rows)
    if len(kept) == 0:
        kept = np.array([counts.argmax()])
    if len(kept) > encoding.most_levels:
        kept = kept[np.argsort(-counts[kept], kind="stable")]
    return [int(code) for code in kept]


def _find_levels(column: NDArray[np.float64], encoding: Encoding) -> tuple[list[float], list[float]]:
    """Return all values of a number if there are few, otherwise the most frequent one if it is frequent enough."""
    numbers, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    if len(numbers) <= encoding.max_levels:
        return [float(number) for number in numbers], []
    if encoding.spike_share < 1 and counts.max() >= encoding.spike_share * len(column):
        return [], [float(numbers[counts.argmax()])]
    return [], []


def _make_columns(schema: Schema, layout: _Layout) -> ColumnTransformer:
    """Build the transformer that selects and encodes the columns of each block, without scaling."""
    blocks: list[tuple[str, Any, list[int]]] = []
    if layout.values:
        blocks.append(("values", SimpleImputer(strategy="median", keep_empty_features=True), layout.values))
    listed = {position: codes for position, codes in layout.categories.items() if codes}
    if listed:
        words = [[schema.features[position].levels[code] for code in codes] for position, codes in listed.items()]
        blocks.append(("categories", _one_hot(words), list(listed)))
    if layout.levels:
        blocks.append(("levels", _one_hot(list(layout.levels.values())), list(layout.levels)))
    if layout.gaps:
        blocks.append(("gaps", MissingIndicator(features="all"), layout.gaps))
    if layout.parts:
        parts = Pipeline([
            ("read", DateParts(list(layout.parts.values()))), ("fill", SimpleImputer(strategy="median")),
        ])  # fmt: skip
        blocks.append(("parts", parts, list(layout.parts)))
    if layout.tables:
        words = [list(schema.features[position].levels) for position in layout.many]
        sources = [layout.many.index(table.position) for table in layout.tables]
        statistics = LevelStatistics(words, sources, [table.numbers for table in layout.tables])
        blocks.append(("statistics", statistics, layout.many))
    return ColumnTransformer(blocks)


def _one_hot(categories: list[Any]) -> OneHotEncoder:
    return OneHotEncoder(categories=categories, handle_unknown="ignore", sparse_output=False)


def _make_scaler(layout: _Layout, encoding: Encoding) -> Any:  # noqa: ANN401  a transformer or its name
    """Build the transformer that scales; the block of values comes first, so the order of columns is kept."""
    if encoding.scale_all:
        return StandardScaler()
    start = len(layout.plain)
    parts: list[tuple[str, Any, slice]] = [("plain", StandardScaler(), slice(0, start))] if start else []
    for offset, position in enumerate(layout.spiked, start):
        # The frequent value is replaced by the mean of the others, so that it scales to 0; it has an indicator.
        without = SimpleImputer(missing_values=layout.levels[position][0], strategy="mean")
        part = Pipeline([("without_spike", without), ("scale", StandardScaler())])
        parts.append((f"spiked_{offset}", part, slice(offset, offset + 1)))
    return ColumnTransformer(parts, remainder="passthrough") if parts else "passthrough"


def _read_out(schema: Schema, layout: _Layout, transformer: Pipeline) -> Preprocessor:
    """Extract the fitted parameters from the scikit-learn objects."""
    columns, scaler = transformer.named_steps["columns"], transformer.named_steps["scale"]
    names, sources, equals = _name_columns(schema, layout)
    values = len(layout.values)
    fill = columns.named_transformers_["values"].statistics_.astype(np.float64) if values else np.empty(0)
    part_fill = columns.named_transformers_["parts"].named_steps["fill"].statistics_ if layout.parts else np.empty(0)
    parts = [(position, part) for position, found in layout.parts.items() for part in found]
    spike, spike_fill = np.full(values, np.nan), np.zeros(values)
    center, scale = np.zeros(len(names)), np.ones(len(names))
    if isinstance(scaler, StandardScaler):
        center, scale = scaler.mean_, scaler.scale_
    elif isinstance(scaler, ColumnTransformer):
        for name, part, where in scaler.transformers_:
            if name == "plain":
                center[where], scale[where] = part.mean_, part.scale_
            elif name.startswith("spiked"):
                spike[where] = part.named_steps["without_spike"].missing_values
                spike_fill[where] = part.named_steps["without_spike"].statistics_
                center[where], scale[where] = part.named_steps["scale"].mean_, part.named_steps["scale"].scale_
    return Preprocessor(
        names=tuple(names),
        value_source=np.array(layout.values, dtype=np.int64),
        # Missing values are imputed before the frequent value is replaced.
        value_fill=np.where(fill == spike, spike_fill, fill),
        value_spike=spike,
        spike_fill=spike_fill,
        equal_source=np.array(sources, dtype=np.int64),
        equal_value=np.array(equals, dtype=np.float64),
        missing_source=np.array(layout.gaps, dtype=np.int64),
        part_source=np.array([position for position, _ in parts], dtype=np.int64),
        part_fill=np.asarray(part_fill, dtype=np.float64),
        part_names=tuple(part for _, part in parts),
        level_source=np.array([table.position for table in layout.tables], dtype=np.int64),
        level_fold=np.array([table.fold for table in layout.tables], dtype=np.int64),
        level_numbers=tuple(table.numbers for table in layout.tables),
        center=np.asarray(center, dtype=np.float64),
        scale=np.asarray(scale, dtype=np.float64),
    )


def _name_columns(schema: Schema, layout: _Layout) -> tuple[list[str], list[int], list[float]]:
    """Return the name of every column, and source and value of the columns that are indicators."""
    names = [schema.features[position].name for position in layout.values]
    sources: list[int] = []
    equals: list[float] = []
    for position, codes in layout.categories.items():
        words = schema.features[position].levels
        for code in codes:
            sources.append(position)
            equals.append(float(code))
            names.append(f"{schema.features[position].name} is {words[code]}")
    for position, numbers in layout.levels.items():
        sources += [position] * len(numbers)
        equals += numbers
        names += [f"{schema.features[position].name} is {number:g}" for number in numbers]
    names += [f"{schema.features[position].name} is missing" for position in layout.gaps]
    names += [f"{schema.features[position].name}: {part}" for position, parts in layout.parts.items() for part in parts]
    names += [f"{schema.features[table.position].name}: leavers by level, fold {table.fold}" for table in layout.tables]
    return names, sources, equals
