"""Score customers with a model: columns in, probabilities and decisions out. Independent of HTTP and files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from churn.bundle import KERAS_FILE, ONNX_FILE, Bundle, open_bundle
from churn.columns import encode_columns, make_stacker
from churn.engines import Engine, EngineChoice, choose_engine, load_engine
from churn.errors import BundleError, EngineError
from churn.libraries import check_library
from churn.network_form import in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.trust.signatures import Trust

PROBABILITY_DECIMALS = 6
"""Probabilities are rounded before the threshold is applied, so that decisions don't depend on engine or batch size."""

FEW_ROWS = 8
"""Up to this number of rows, transforming them one by one is faster than NumPy calls."""

_ROUNDING = 10.0**PROBABILITY_DECIMALS

GOLDEN_TOLERANCE = 1e-5
"""Maximum absolute difference of a golden row's probability from the manifest."""


class Scorer:
    """Scores customers with one model.

    Parameters
    ----------
    bundle : Bundle
        The verified model.
    engine : Engine
        Runs the network.

    Attributes
    ----------
    background : ndarray of float64, shape (m, features), or None
        Customers that predictions are explained against (`churn.reasons`).
    support : SupportData or None
        What the version knows of its training customers.
    folder : Path
        Where the version was read, which may be a private copy that is gone.
    network : bytes
        The ONNX file; empty without a background.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.folder = bundle.folder
        self.manifest = bundle.manifest
        self.signers = bundle.signers
        self.background = bundle.background
        self.support = bundle.support
        # Read now, as the folder may be a private copy that is removed.
        self.network = b"" if self.background is None else (bundle.folder / ONNX_FILE).read_bytes()
        self.schema = bundle.manifest.schema
        self.version = str(bundle.manifest.version)
        self.threshold = bundle.manifest.threshold
        self.engine = engine
        self._preprocessor = bundle.manifest.preprocessor
        self.stack_rows: Callable[[Iterable[Sequence[float]]], NDArray[np.float64]]
        self.stack_rows = make_stacker(len(self.schema.features))
        """Return validated rows as a raw matrix, shape (n, features)."""
        self.prepare_row: Callable[[Sequence[float]], NDArray[np.float32]] = self._preprocessor.make_row_transform()
        """Return the input of the network, shape (1, width), for one validated row: `prepare` for a single customer."""

    @property
    def sources(self) -> NDArray[np.int64]:
        """Raw column of each input of the network, shape (width,)."""
        return self._preprocessor.sources

    def score(self, columns: Mapping[str, Sequence[Any] | NDArray[Any]]) -> NDArray[np.float64]:
        """Return the probability of leaving for each customer.

        Parameters
        ----------
        columns : mapping of str to sequence of length n
            Columns of the schema by name, in any order; others are ignored.

        Returns
        -------
        ndarray of float64, shape (n,)
            Rounded to `PROBABILITY_DECIMALS`.

        Raises
        ------
        InvalidCustomersError
            If values can't be scored; contains all of them.
        """
        return self.score_raw(encode_columns(self.schema, columns))

    def score_raw(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities, shape (n,), of a validated raw matrix, shape (n, features)."""
        return self.infer(self.prepare(raw))

    def score_row(self, row: Sequence[float]) -> float:
        """Return the probability of one validated row of the raw matrix: a faster `score_raw` for a single customer."""
        return self.infer_row(self.prepare_row(row))

    def prepare(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the input of the network, shape (n, width), for a validated raw matrix."""
        return self._preprocessor.transform(raw)

    def prepare_rows(self, rows: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the input of the network, shape (n, width), for validated rows: a `prepare` that is fast for few rows.

        Parameters
        ----------
        rows : sequence of sequence of float
        raw : ndarray of float64, shape (n, features)
            The same rows as a matrix.
        """
        if len(rows) <= FEW_ROWS:
            return np.concatenate([self.prepare_row(row) for row in rows])
        return self.prepare(raw)

    def infer(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the rounded probabilities, shape (n,), for the input of the network."""
        probabilities: NDArray[np.float64] = self.engine.predict(matrix).astype(np.float64, copy=False)
        return probabilities.round(PROBABILITY_DECIMALS)

    def infer_row(self, matrix: NDArray[np.float32]) -> float:
        """Return the probability for an input of one row: a faster `infer` for a single customer.

        Parameters
        ----------
        matrix : ndarray of float32, shape (1, columns)
            The preprocessor's.
        """
        # The same three operations as ndarray.round, so that ties are rounded equally.
        return round(float(self.engine.predict(matrix)[0]) * _ROUNDING) / _ROUNDING

    def predict(self, raw: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return the unrounded output of the network, shape (n,), for a validated raw matrix, shape (n, features)."""
        return self.engine.predict(self.prepare(raw))

    def decide(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return whether each customer is predicted to leave: strictly above the threshold.

        Parameters
        ----------
        probabilities : ndarray of float64, shape (n,)
        """
        return probabilities > self.threshold

    def check_golden_rows(self) -> None:
        """Score the golden rows of the manifest and compare them.

        Raises
        ------
        BundleError
            If one differs by more than `GOLDEN_TOLERANCE`; the message names the row and both numbers.
        EngineError
            If the network can't be run.
        """
        customers = [customer for customer, _ in self.manifest.golden]
        expected = np.array([probability for _, probability in self.manifest.golden])
        columns = {name: [customer.get(name) for customer in customers] for name in self.schema.names}
        matrix = self.prepare(encode_columns(self.schema, columns))
        try:
            found = self.engine.predict(matrix).astype(np.float64)
        except Exception as error:  # the errors of the engines have no common base class
            raise EngineError(f"the {self.engine.name} engine can't run the network: {in_one_line(error)}") from error
        if found.shape != expected.shape:
            raise EngineError(f"the {self.engine.name} engine returns {found.size} numbers for {len(expected)} rows")
        # Negated, so that NaN fails.
        wrong = ~(np.abs(found - expected) <= GOLDEN_TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BundleError(
                f"golden row {row} scores {found[row]:.6f} with the {self.engine.name} engine, but the manifest has "
                f"{expected[row]:.6f}: {int(wrong.sum())} of {len(expected)} rows differ by more than "
                f"{GOLDEN_TOLERANCE:g}"
            )


def load_scorer(folder: Path, engine: EngineChoice = "auto", threads: int = 1, trust: Trust | None = None) -> Scorer:
    """Verify a model version, load its network, and check its golden rows.

    Parameters
    ----------
    folder : Path
        Folder of the version.
    engine : {"auto", "onnx", "tensorflow"}
    threads : int
        Threads inside one operation of the engine.
    trust : Trust, optional
        The keys one of which must have signed the version. By default those of the environment.

    Raises
    ------
    KeyFileError
        If the trusted keys can't be read.
    BundleError
        If a signature, a file hash, a library version or a golden row does not match; the message names the check.
    EngineError
        If the engine is not installed or can't read its file.
    """
    with open_bundle(folder, trust) as bundle:
        chosen = choose_engine(engine)
        if chosen == "tensorflow":
            check_library(bundle.manifest, "keras")
        runner = load_engine(chosen, bundle.folder, threads)
        scorer = Scorer(bundle, runner)
    width = bundle.manifest.preprocessor.width
    if runner.width != width:
        raise BundleError(f"{folder}: the network takes {runner.width} inputs, but the preprocessing makes {width}")
    try:
        scorer.check_golden_rows()
    except BundleError as error:
        raise BundleError(f"{folder / KERAS_FILE if chosen == 'tensorflow' else folder}: {error}") from error
    return scorer
