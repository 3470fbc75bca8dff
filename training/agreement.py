"""Prove before a network is published that its published digits depend neither on the engine nor on the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.bundle import KERAS_FILE, ONNX_FILE
from churn.engines import OnnxEngine, TensorFlowEngine
from churn.errors import BundleError
from churn.scorer import PROBABILITY_DECIMALS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.engines import Engine

EQUAL_TOLERANCE = 1e-6
"""Maximum absolute difference of a probability between the two files before it is rounded."""
SAMPLE_ROWS = 20_000
"""Rows that are compared, at least; customers are made up where the table has fewer."""
BATCHES = (1, 2, 7, 64)
"""Numbers of rows scored together, besides all of them."""
ALONE_ROWS = 2_000
"""Rows that are also scored one by one and two by two, which takes a call each."""


def make_sample(raw: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return customers followed by made-up ones, at least `SAMPLE_ROWS` in all.

    Parameters
    ----------
    raw : ndarray of float64, shape (n, features)
        Validated customers.
    seed : int

    Returns
    -------
    ndarray of float64, shape (max(n, `SAMPLE_ROWS`), features)
        Each value of a made-up customer is some customer's.
    """
    generator = np.random.default_rng(seed)
    missing = max(0, SAMPLE_ROWS - len(raw))
    made = np.column_stack([column[generator.integers(len(raw), size=missing)] for column in raw.T])
    return np.concatenate([raw, made])


def verify_equal(folder: Path, matrix: NDArray[np.float32]) -> tuple[NDArray[np.floating], float]:
    """Score customers with both files, all together and in batches, and compare the probabilities.

    Parameters
    ----------
    folder : Path
        Contains both files.
    matrix : ndarray of float32, shape (n, width)

    Returns
    -------
    probabilities : ndarray of float64, shape (n,)
        Probabilities from TensorFlow, not rounded.
    difference : float
        Maximum absolute difference between the two, before rounding.

    Raises
    ------
    BundleError
        If they differ by more than `EQUAL_TOLERANCE`, or in a published digit, or a probability is not a number from 0
        to 1.
    """
    tensorflow, onnx = TensorFlowEngine(folder / KERAS_FILE), OnnxEngine(folder / ONNX_FILE)
    expected, found = tensorflow.predict(matrix), onnx.predict(matrix)
    if not ((expected >= 0) & (expected <= 1)).all():
        raise BundleError("the network returns values that are not probabilities: training has diverged")
    difference = float(np.abs(found - expected).max())
    if not difference <= EQUAL_TOLERANCE:
        raise BundleError(
            f"{KERAS_FILE} and {ONNX_FILE} differ by {difference:.2g}, allowed: {EQUAL_TOLERANCE:g}; not published"
        )
    published = _publish(expected)
    _compare(published, found, f"{ONNX_FILE}, all rows together")
    for engine, file in ((onnx, ONNX_FILE), (tensorflow, KERAS_FILE)):
        for size in BATCHES:
            rows = matrix if size > 2 else matrix[:ALONE_ROWS]
            _compare(published, _score_in_batches(engine, rows, size), f"{file}, in batches of {size}")
    return expected, difference


def _score_in_batches(engine: Engine, matrix: NDArray[np.float32], size: int) -> NDArray[np.floating]:
    parts = [engine.predict(matrix[start : start + size]) for start in range(0, len(matrix), size)]
    return np.concatenate(parts) if parts else np.empty(0)


def _publish(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    return probabilities.astype(np.float64).round(PROBABILITY_DECIMALS)


def _compare(published: NDArray[np.float64], found: NDArray[np.floating], how: str) -> None:
    digits = _publish(found)
    differs = digits != published[: len(digits)]
    if differs.any():
        row = int(np.argmax(differs))
        both = " and ".join(f"{value:.{PROBABILITY_DECIMALS}f}" for value in (digits[row], published[row]))
        raise BundleError(
            f"{how}: {int(differs.sum())} of {len(digits)} probabilities differ from those of {KERAS_FILE} in a "
            f"published digit, e.g. {both} in row {row + 1}; not published"
        )
