"""Write a network as `model.keras` and `model.onnx`, time it, and verify the numbers of its preprocessor."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from churn.bundle import KERAS_FILE, ONNX_FILE, PREPROCESSOR_FILE
from churn.engines import OnnxEngine
from churn.errors import BundleError
from training.onnx_network import write_onnx
from training.preprocess import quiet_about_gaps

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from churn.preprocessing import Preprocessor

TIMED_RUNS = 30
EQUAL_TOLERANCE = 1e-6
"""Maximum difference of an entry between the two forms of the preprocessor."""


def export_network(model: keras.Model, folder: Path) -> None:
    """Write a network in both formats into a folder.

    Raises
    ------
    BundleError
        If the network has a layer that `training.onnx_network` does not know.
    """
    model.save(folder / KERAS_FILE)
    write_onnx(model, folder / ONNX_FILE)


def load_onnx(model: keras.Model) -> OnnxEngine:
    """Return a network that isn't published yet in ONNX Runtime.

    Raises
    ------
    BundleError
        If the network has a layer that `training.onnx_network` does not know.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, ONNX_FILE)
        write_onnx(model, path)
        return OnnxEngine(path)


def time_engine(engine: OnnxEngine, matrix: NDArray[np.float32]) -> float:
    """Return the microseconds of one core that a row of the matrix takes alone: the best of some runs.

    Parameters
    ----------
    engine : OnnxEngine
    matrix : ndarray of float32, shape (n, columns)
        The preprocessor's.
    """
    rows = [matrix[row : row + 1] for row in range(len(matrix))]
    best = np.inf
    for _ in range(TIMED_RUNS):
        start = time.process_time()
        for row in rows:
            engine.predict(row)
        best = min(best, (time.process_time() - start) / len(rows))
    return float(1e6 * best)


def verify_preprocessor(
    transformer: Pipeline, preprocessor: Preprocessor, objects: NDArray[np.object_], raw: NDArray[np.float64]
) -> float:
    """Compare the preprocessor with scikit-learn's transformer.

    Parameters
    ----------
    transformer : Pipeline
        Fitted transformer.
    preprocessor : Preprocessor
        The same transformation as arrays.
    objects, raw : ndarray, shape (n, features)
        The same customers, as input of the transformer and of the preprocessor.

    Returns
    -------
    float
        Maximum difference of an entry, relative for entries above 1.

    Raises
    ------
    BundleError
        If they differ by more than `EQUAL_TOLERANCE`.
    """
    with quiet_about_gaps():
        expected = transformer.transform(objects)
    # Relative for large scaled values: float32 has seven significant digits, not six decimals.
    difference = float((np.abs(expected - preprocessor.transform(raw)) / np.maximum(1, np.abs(expected))).max())
    if not difference <= EQUAL_TOLERANCE:
        raise BundleError(
            f"{PREPROCESSOR_FILE} and the arrays in the manifest differ by {difference:.2g}; not published"
        )
    return difference
