"""A bundle made ready to score: columns in, probabilities and decisions out. Knows nothing of HTTP or files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.bundle import KERAS_FILE, Bundle, check_library, read_bundle
from churn.columns import encode_columns, make_stacker
from churn.engines import Engine, EngineChoice, choose_engine, load_engine
from churn.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PROBABILITY_DECIMALS = 6
"""A probability is rounded to this before the threshold rule, so that engines and batch sizes can't disagree."""

FEW_ROWS = 8
"""Up to so many rows are transformed faster one by one than by NumPy's calls, each of which has its price."""

_ROUNDING = 10.0**PROBABILITY_DECIMALS

GOLDEN_TOLERANCE = 1e-5
"""How far a golden row's probability may be from the one in the manifest."""


class Scorer:
    """Scores customers with one model.

    Parameters
    ----------
    bundle : Bundle
        The verified model.
    engine : Engine
        Runs its network.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.manifest = bundle.manifest
        self.schema = bundle.manifest.schema
        self.version = str(bundle.manifest.version)
        self.threshold = bundle.manifest.threshold
        self.engine = engine
        self._preprocessor = bundle.manifest.preprocessor
        self.stack_rows: Callable[[Iterable[Sequence[float]]], NDArray[np.float64]]
        self.stack_rows = make_stacker(len(self.schema.features))
        """Return checked rows as a raw matrix, shape (n, features)."""
        self.prepare_row: Callable[[Sequence[float]], NDArray[np.float32]] = self._preprocessor.make_row_transform()
        """Return the network's matrix, shape (1, width), of one checked row: `prepare` for a customer alone."""

    def score(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
        """Return the probability that each customer leaves.

        Parameters
        ----------
        columns : mapping of str to sequence of length n
            The schema's columns by name, in any order; others are ignored.

        Returns
        -------
        ndarray of float64, shape (n,)
            Rounded to `PROBABILITY_DECIMALS`.

        Raises
        ------
        InvalidCustomersError
            With every value that can't be scored.
        """
        return self.score_raw(encode_columns(self.schema, columns))

    def score_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities, shape (n,), of a checked raw matrix, shape (n, features)."""
        return self.infer(self.prepare(raw))

    def score_row(self, row: Sequence[float]) -> float:
        """Return the probability of one checked row of the raw matrix: `score_raw` for a customer alone, faster."""
        return self.infer_row(self.prepare_row(row))

    def prepare(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the network's matrix, shape (n, width), of a checked raw matrix."""
        return self._preprocessor.transform(raw)

    def prepare_rows(self, rows: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the network's matrix, shape (n, width), of some checked rows: `prepare`, fast for a few as well.

        Parameters
        ----------
        rows : sequence of sequence of float
        raw : ndarray of float64, shape (n, features)
            The same rows stacked.
        """
        if len(rows) <= FEW_ROWS:
            return np.concatenate([self.prepare_row(row) for row in rows])
        return self.prepare(raw)

    def infer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities, shape (n,), rounded, of the network's matrix."""
        probabilities: NDArray[np.float64] = self.engine.predict(matrix).astype(np.float64)
        return probabilities.round(PROBABILITY_DECIMALS)

    def infer_row(self, matrix: NDArray[np.float32]) -> float:
        """Return the probability of a matrix of one row: `infer` for a customer alone, faster."""
        # The same three operations as ndarray.round, so the same result on every tie.
        return round(float(self.engine.predict(matrix)[0]) * _ROUNDING) / _ROUNDING

    def predict(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the network's own numbers, not rounded, shape (n,), of a checked raw matrix."""
        return self.engine.predict(self.prepare(raw))

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each customer is said to leave: strictly above the threshold."""
        return probabilities > self.threshold

    def check_golden_rows(self) -> None:
        """Score the manifest's golden rows again.

        Raises
        ------
        BundleError
            If one differs by more than `GOLDEN_TOLERANCE`; the message names the row and both numbers.
        """
        customers = [customer for customer, _ in self.manifest.golden]
        expected = np.array([probability for _, probability in self.manifest.golden])
        if not len(expected):
            raise BundleError("the manifest has no golden rows")
        columns = {name: [customer.get(name) for customer in customers] for name in self.schema.names}
        found = self.predict(encode_columns(self.schema, columns)).astype(np.float64)
        # Written so that a NaN fails.
        wrong = ~(np.abs(found - expected) <= GOLDEN_TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BundleError(
                f"golden row {row} scores {found[row]:.6f} with the {self.engine.name} engine, and the manifest says "
                f"{expected[row]:.6f}: {int(wrong.sum())} of {len(expected)} rows differ by more than "
                f"{GOLDEN_TOLERANCE:g}"
            )


def load_scorer(folder: Path, engine: EngineChoice = "auto", threads: int = 1) -> Scorer:
    """Verify a model folder, load its network and prove that it still scores as it did.

    Parameters
    ----------
    folder : Path
        A version's folder.
    engine : {"auto", "onnx", "tensorflow"}
    threads : int
        Threads inside one operation of the engine.

    Raises
    ------
    BundleError
        Naming the check that failed: a file's hash, a library's version, a golden row.
    EngineError
        If the engine is not installed or can't read its file.
    """
    bundle = read_bundle(folder)
    chosen = choose_engine(engine)
    if chosen == "tensorflow":
        check_library(bundle.manifest, "keras")
    scorer = Scorer(bundle, load_engine(chosen, folder, threads))
    try:
        scorer.check_golden_rows()
    except BundleError as error:
        raise BundleError(f"{folder / KERAS_FILE if chosen == 'tensorflow' else folder}: {error}") from error
    return scorer
