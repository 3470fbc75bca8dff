"""Transform the raw matrix to the input of the network, with NumPy only.

The scaler and encoder are fitted with scikit-learn (`training.preprocess`). Their parameters are a few arrays in the
manifest, so that serving does not import scikit-learn.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.dates import DATE_PARTS
from churn.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from churn.dates import DatePart

_FORM: Mapping[str, type[np.generic]] = {
    "value_source": np.int64,
    "value_fill": np.float64,
    "value_spike": np.float64,
    "spike_fill": np.float64,
    "equal_source": np.int64,
    "equal_value": np.float64,
    "missing_source": np.int64,
    "center": np.float64,
    "scale": np.float64,
}


@dataclass(frozen=True, slots=True, eq=False)
class Preprocessor:
    """Fitted scaler and encoder.

    The input of the network has five blocks of columns, computed from the raw value x of a feature:

    1. v values: x, or a replacement if x is missing or equals the spike, a value so frequent that it has its own
       indicator and would distort the scale;
    2. e indicators: 1 if x equals a given value, else 0;
    3. m indicators: 1 if x is missing, else 0;
    4. p date parts: the month, 1 to 12, or the day of the week, 1 (Monday) to 7, or a replacement if x is missing;
    5. l level encodings: a number for each level of a category.

    Each column is then scaled: (column - center) / scale.

    Attributes
    ----------
    names : tuple of str, length d = v + e + m + p + l
        Names of the columns.
    value_source, value_fill : ndarray of int64, float64, shape (v,)
        Raw column, and replacement for missing values.
    value_spike, spike_fill : ndarray of float64, shape (v,)
        Spike (NaN if there is none), and its replacement.
    equal_source, equal_value : ndarray of int64, float64, shape (e,)
        Raw column, and the raw value of the indicator: the position of a category, a level or a spike.
    missing_source : ndarray of int64, shape (m,)
        Raw column.
    center, scale : ndarray of float64, shape (d,)
    part_source, part_fill : ndarray of int64, float64, shape (p,)
        Raw column of a date, and replacement for missing values.
    part_names : tuple of p str
        Each "month" or "weekday".
    level_source, level_fold : ndarray of int64, shape (l,)
        Raw column, and the fold of the cross-validation for which the encoding was fitted.
    level_numbers : tuple of l ndarray of float64, shape (levels + 1,)
        Number of each level; the last one is for missing values and levels that are not listed.

    Raises
    ------
    BundleError
        If the lengths of the arrays don't match.
    """

    names: tuple[str, ...]
    value_source: NDArray[np.int64]
    value_fill: NDArray[np.float64]
    value_spike: NDArray[np.float64]
    spike_fill: NDArray[np.float64]
    equal_source: NDArray[np.int64]
    equal_value: NDArray[np.float64]
    missing_source: NDArray[np.int64]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]
    part_source: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    part_fill: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    part_names: tuple[DatePart, ...] = ()
    level_source: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    level_fold: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    level_numbers: tuple[NDArray[np.float64], ...] = ()
    _ones: NDArray[np.float32] = field(init=False, repr=False)
    _zeros: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        blocks = len(self.sources)
        if not (len(self.names) == blocks == len(self.center) == len(self.scale)) or not (
            len(self.value_source) == len(self.value_fill) == len(self.value_spike) == len(self.spike_fill)
            and len(self.equal_source) == len(self.equal_value)
            and len(self.part_source) == len(self.part_fill) == len(self.part_names)
            and len(self.level_source) == len(self.level_fold) == len(self.level_numbers)
        ):
            raise BundleError("the preprocessor's arrays differ in length")
        if unknown := set(self.part_names) - set(DATE_PARTS):
            raise BundleError(f"the preprocessor has unknown parts of dates: {', '.join(sorted(unknown))}")
        for name, indicator in (("_ones", 1.0), ("_zeros", 0.0)):
            object.__setattr__(self, name, ((indicator - self.center) / self.scale).astype(np.float32))

    @property
    def width(self) -> int:
        """Number of inputs of the network."""
        return len(self.names)

    @property
    def sources(self) -> NDArray[np.int64]:
        """Raw column of each input of the network. An array of int64, shape (width,)."""
        return np.concatenate([
            self.value_source, self.equal_source, self.missing_source, self.part_source, self.level_source,
        ])  # fmt: skip

    @property
    def numeric_columns(self) -> NDArray[np.int64]:
        """Positions of the inputs that are numbers, not indicators. An array of int64, shape (numbers,)."""
        values, last = len(self.value_source), len(self.part_source) + len(self.level_source)
        return np.concatenate([np.arange(values), np.arange(self.width - last, self.width)])

    @property
    def owners(self) -> NDArray[np.int64]:
        """Fold for which each input was fitted; -1 if it is the same in all folds. Shape (width,)."""
        return np.concatenate([np.full(self.width - len(self.level_fold), -1), self.level_fold])

    def transform(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Apply the fitted scaler and encoder.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)
            The raw matrix of `churn.columns`.

        Returns
        -------
        ndarray of float32, shape (n, width)
        """
        values_end = len(self.value_source)
        equals_end = values_end + len(self.equal_source)
        matrix = np.empty((len(raw), self.width), dtype=np.float32)
        values = raw[:, self.value_source]
        np.copyto(values, self.spike_fill, where=values == self.value_spike)
        np.copyto(values, self.value_fill, where=np.isnan(values))
        values -= self.center[:values_end]
        values /= self.scale[:values_end]
        matrix[:, :values_end] = values
        # A scaled indicator has one of two values.
        matrix[:, values_end:] = self._zeros[values_end:]
        equal = raw[:, self.equal_source] == self.equal_value
        np.copyto(matrix[:, values_end:equals_end], self._ones[values_end:equals_end], where=equal)
        gaps_end = equals_end + len(self.missing_source)
        if equals_end < gaps_end:
            gaps = np.isnan(raw[:, self.missing_source])
            np.copyto(matrix[:, equals_end:gaps_end], self._ones[equals_end:gaps_end], where=gaps)
        parts = zip(self.part_source, self.part_names, self.part_fill, strict=True)
        for column, (source, part, fill) in enumerate(parts, gaps_end):
            absent = np.isnan(raw[:, source])
            days = np.where(absent, 0.0, raw[:, source]).astype(np.int64)
            found = np.where(absent, fill, DATE_PARTS[part](days))
            matrix[:, column] = (found - self.center[column]) / self.scale[column]
        for column, (source, numbers) in enumerate(
            zip(self.level_source, self._scaled_levels(), strict=True), gaps_end + len(self.part_source)
        ):
            last = len(numbers) - 1
            codes = np.where(np.isnan(raw[:, source]), last, np.minimum(raw[:, source], last))
            matrix[:, column] = numbers[codes.astype(np.int64)]
        return matrix

    def _scaled_levels(self) -> list[NDArray[np.float64]]:
        start = self.width - len(self.level_numbers)
        return [
            (numbers - self.center[column]) / self.scale[column]
            for column, numbers in enumerate(self.level_numbers, start)
        ]

    def make_row_transform(self) -> Callable[[Sequence[float]], NDArray[np.float32]]:
        """Return a function equivalent to `transform` for a single customer, with bitwise equal results.

        For one row, plain floats are ten times as fast as NumPy.

        Returns
        -------
        callable
            Takes one row of the raw matrix; returns a read-only ndarray of float32, shape (1, width).
        """
        values_end = len(self.value_source)
        equals_end = values_end + len(self.equal_source)
        center, scale = self.center.tolist(), self.scale.tolist()
        ones, zeros = ((1.0 - self.center) / self.scale).tolist(), ((0.0 - self.center) / self.scale).tolist()
        fills = zip(self.value_fill.tolist(), self.value_spike.tolist(), self.spike_fill.tolist(), strict=True)
        values = [
            (source, *standing_in, middle, unit)
            for source, standing_in, middle, unit in zip(self.value_source.tolist(), fills, center, scale, strict=False)
        ]
        equals = list(
            zip(
                self.equal_source.tolist(),
                self.equal_value.tolist(),
                ones[values_end:equals_end],
                zeros[values_end:equals_end],
                strict=True,
            )
        )
        missing = self.missing_source.tolist()
        gaps_end = equals_end + len(missing)
        gaps = list(zip(missing, ones[equals_end:gaps_end], zeros[equals_end:gaps_end], strict=True))
        readers = (DATE_PARTS[part] for part in self.part_names)
        parts = list(
            zip(
                self.part_source.tolist(),
                readers,
                self.part_fill.tolist(),
                center[gaps_end : gaps_end + len(self.part_source)],
                scale[gaps_end : gaps_end + len(self.part_source)],
                strict=True,
            )
        )
        levels = [
            (source, numbers.tolist(), len(numbers) - 1)
            for source, numbers in zip(self.level_source.tolist(), self._scaled_levels(), strict=True)
        ]
        pack = struct.Struct(f"{self.width}f").pack

        def transform_row(row: Sequence[float]) -> NDArray[np.float32]:
            # A missing value is NaN, the only number that differs from itself.
            columns = [
                ((spike_fill if row[i] == spike else row[i] if row[i] == row[i] else fill) - middle) / unit
                for i, fill, spike, spike_fill, middle, unit in values
            ]
            columns += [one if row[i] == value else zero for i, value, one, zero in equals]
            columns += [zero if row[i] == row[i] else one for i, one, zero in gaps]
            columns += [
                ((read(int(row[i])) if row[i] == row[i] else fill) - middle) / unit
                for i, read, fill, middle, unit in parts
            ]
            columns += [numbers[min(int(row[i]), last) if row[i] == row[i] else last] for i, numbers, last in levels]
            return np.frombuffer(pack(*columns), np.float32).reshape(1, -1)

        return transform_row

    def to_dict(self) -> dict[str, Any]:
        """Return the arrays as lists for JSON, which preserves float64 exactly; NaN becomes None."""
        arrays = {key: getattr(self, key).tolist() for key in _FORM}
        form = {"names": list(self.names), **{key: [None if x != x else x for x in arrays[key]] for key in _FORM}}
        if len(self.part_source):
            form["parts"] = [
                {"source": source, "part": part, "fill": fill}
                for source, part, fill in zip(
                    self.part_source.tolist(), self.part_names, self.part_fill.tolist(), strict=True
                )
            ]
        if len(self.level_source):
            form["levels"] = [
                {"source": source, "fold": fold, "numbers": numbers.tolist()}
                for source, fold, numbers in zip(
                    self.level_source.tolist(), self.level_fold.tolist(), self.level_numbers, strict=True
                )
            ]
        return form

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessor:
        """Create a preprocessor from the result of `to_dict`.

        Raises
        ------
        BundleError
            If an array is missing or the lengths don't match.
        """
        try:
            arrays: dict[str, Any] = {key: np.array(data[key], dtype=dtype) for key, dtype in _FORM.items()}
            names: Sequence[str] = data["names"]
            # Bundles without dates or categories of many levels, and older ones, lack these.
            parts: Sequence[Mapping[str, Any]] = data.get("parts", [])
            levels: Sequence[Mapping[str, Any]] = data.get("levels", [])
            arrays["part_source"] = np.array([part["source"] for part in parts], dtype=np.int64)
            arrays["part_fill"] = np.array([part["fill"] for part in parts], dtype=np.float64)
            part_names = tuple(part["part"] for part in parts)
            arrays["level_source"] = np.array([level["source"] for level in levels], dtype=np.int64)
            arrays["level_fold"] = np.array([level["fold"] for level in levels], dtype=np.int64)
            numbers = tuple(np.array(level["numbers"], dtype=np.float64) for level in levels)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"the preprocessor's parameters can't be read: {error!r}") from error
        return cls(names=tuple(names), part_names=part_names, level_numbers=numbers, **arrays)
