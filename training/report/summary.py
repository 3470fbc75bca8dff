"""Summaries of the columns: kind, range, missing values, distribution and share of leavers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.dates import write_date

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from churn.feature import Feature
    from churn.schema import Schema
    from training.evaluate import Part

BARS = 16
"""Number of bars for a number; other features have one per value, up to `MAX_VALUES`."""
MAX_VALUES = 24
FIRST_VALUES = 6
"""Number of values of a category that are listed."""
LONGEST_VALUE = 24
"""Longer values are cut off, such as hashes."""
FEW_CUSTOMERS = 20
"""Bars with fewer customers show no share of leavers."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Customers with one value or range: label, relative count (0-1, the largest bar is 1) and share of leavers."""

    label: str
    height: float
    left: float | None


@dataclass(frozen=True, slots=True)
class Column:
    """Summary of one feature.

    Attributes
    ----------
    name, kind, unit, description : str
    values : str
        Range, or list of values.
    typical : str
        Median, or most common value.
    missing : int
    missing_share : float
    bars : tuple of Bar
    """

    name: str
    kind: str
    unit: str
    description: str
    values: str
    typical: str
    missing: int
    missing_share: float
    bars: tuple[Bar, ...]


def summarise(schema: Schema, parts: Iterable[Part]) -> list[Column]:
    """Summarise every column over all parts."""
    parts = list(parts)
    labels = np.concatenate([part.labels for part in parts])
    columns = []
    for position, feature in enumerate(schema.features):
        column = np.concatenate([part.raw[:, position] for part in parts])
        columns.append(_describe(feature, column, labels))
    return columns


def _describe(feature: Feature, column: NDArray[np.float64], labels: NDArray[np.float64]) -> Column:
    present = ~np.isnan(column)
    numbers, labels = column[present], labels[present]
    bars: tuple[Bar, ...] = ()
    if not len(numbers):
        values, typical = "no values", ""
    elif feature.is_quantity:
        write = write_date if feature.kind == "date" else number
        values = f"{write(float(numbers.min()))} to {write(float(numbers.max()))}"
        typical = f"median\u00a0{write(float(np.median(numbers)))}"
        bars = _quantity_bars(feature, numbers, labels)
    else:
        values, typical, bars = _describe_values(feature, numbers, labels)
    missing = len(column) - len(numbers)
    return Column(
        name=feature.name,
        kind=feature.kind,
        unit=feature.unit,
        description=feature.description,
        values=values,
        typical=typical,
        missing=missing,
        missing_share=missing / len(column),
        bars=bars,
    )


def number(value: float) -> str:
    """Format a number without insignificant digits."""
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _describe_values(
    feature: Feature, numbers: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[str, str, tuple[Bar, ...]]:
    names = feature.levels or ("no", "yes")
    codes = numbers.astype(np.int64)
    counts = np.bincount(codes, minlength=len(names))
    commonest = int(counts.argmax())
    typical = f"{_shorten(names[commonest])} {counts[commonest] / len(numbers):.0%}"
    listed = [_shorten(name) for name in names[:FIRST_VALUES]]
    words = ", ".join(listed) + (f", … ({len(names)} values)" if len(names) > FIRST_VALUES else "")
    shown = np.sort(np.argsort(-counts, kind="stable")[:MAX_VALUES])
    left = np.bincount(codes, weights=labels, minlength=len(names))
    bars = tuple(_bar(names[code], counts[code], left[code], counts.max()) for code in shown.tolist())
    return words, typical, bars


def _quantity_bars(feature: Feature, numbers: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[Bar, ...]:
    low, high = float(numbers.min()), float(numbers.max())
    if feature.kind == "integer":
        width = 1.0 if high - low < MAX_VALUES else np.ceil((high - low + 1) / BARS)
        edges = np.arange(low, high + width + 1, width) - 0.5
        names = [_name_integers(value, value + width - 1) for value in (edges[:-1] + 0.5).tolist()]
    else:
        edges = np.linspace(low, high if high > low else low + 1, BARS + 1)
        write = write_date if feature.kind == "date" else number
        names = [f"{write(a)} to {write(b)}" for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    counts, _ = np.histogram(numbers, edges)
    left, _ = np.histogram(numbers, edges, weights=labels)
    return tuple(
        _bar(name, count, leavers, counts.max()) for name, count, leavers in zip(names, counts, left, strict=True)
    )


def _shorten(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 1]}…"


def _name_integers(low: float, high: float) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _bar(label: str, count: float, left: float, largest: float) -> Bar:
    return Bar(label, float(count / largest), float(left / count) if count >= FEW_CUSTOMERS else None)
