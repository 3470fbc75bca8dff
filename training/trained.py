"""A trained network, with the data and options it was trained with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.scorer import PROBABILITY_DECIMALS
from training import evaluate, export
from training.precision import convert

if TYPE_CHECKING:
    from collections.abc import Mapping

    import keras
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from churn.engines import OnnxEngine
    from churn.preprocessing import Preprocessor
    from training.context import Result
    from training.dataset import Dataset
    from training.report import Costs


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A trained network with its preprocessor.

    Attributes
    ----------
    transformer, preprocessor : Pipeline, Preprocessor
        The fitted scaler and encoder, as a scikit-learn pipeline and as arrays.
    result : Result
        The network and its training history.
    served : keras.Model
        The network as it is published, in float64.

    Raises
    ------
    BundleError
        If the network can't be written for ONNX Runtime.
    """

    transformer: Pipeline
    preprocessor: Preprocessor
    result: Result
    served: keras.Model = field(init=False, repr=False, compare=False)
    _engine: OnnxEngine = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "served", convert(self.result.model, "float64"))
        # Not Keras, which takes fifty times as long a row: the report asks for every column shuffled.
        object.__setattr__(self, "_engine", export.load_onnx(self.served))

    def predict(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of a raw matrix, shape (n,), rounded as the scorer rounds them."""
        probabilities = self._engine.predict(self.preprocessor.transform(raw)).astype(np.float64)
        return probabilities.round(PROBABILITY_DECIMALS)

    def time_row(self, raw: NDArray[np.float64]) -> float:
        """Return the microseconds of one core that ONNX Runtime takes for a row of a raw matrix alone."""
        return export.time_engine(self._engine, self.preprocessor.transform(raw))


@dataclass(frozen=True, slots=True)
class FullStatistics:
    """Statistics of all customers, if the data set is a sample of them.

    Attributes
    ----------
    scores : mapping of str to Scores
        Metrics of each part.
    histograms, score_histogram : dict
        Histograms of the training set, in the format of `training.histograms`.
    """

    scores: Mapping[str, evaluate.Scores]
    histograms: dict[str, Any]
    score_histogram: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network with the data and options it was trained with.

    Attributes
    ----------
    dataset : Dataset
    settings : mapping
        The options of the training; at least ``network``, ``seed`` and ``threshold``.
    rows : mapping of str to ndarray of int64, shape (rows of the part,)
        Row numbers of each part.
    fitted : FittedModel
    created : str
        Time in ISO 8601.
    command : str
    costs : Costs
    whole : FullStatistics or None
        Given if the data set is a sample of more customers.
    parts : mapping of str to Part
        Predictions for each part; computed here.
    scores : mapping of str to Scores
        Metrics of each part; computed here, or taken from `whole`.
    """

    dataset: Dataset
    settings: Mapping[str, Any]
    rows: Mapping[str, NDArray[np.int64]]
    fitted: FittedModel
    created: str
    command: str
    costs: Costs
    whole: FullStatistics | None = None
    parts: Mapping[str, evaluate.Part] = field(init=False)
    scores: Mapping[str, evaluate.Scores] = field(init=False)

    def __post_init__(self) -> None:
        raw, labels = self.dataset.raw, self.dataset.labels
        parts = {
            name: evaluate.Part(name, raw[rows], labels[rows], self.fitted.predict(raw[rows]))
            for name, rows in self.rows.items()
        }
        if self.fitted.result.out_of_fold is not None:
            # Cross-validated: predictions for the training rows by networks that were not trained on them.
            train = parts["train"]
            out_of_fold = evaluate.Part("validation", train.raw, train.labels, self.fitted.result.out_of_fold)
            parts = {"train": train, "validation": out_of_fold, **parts}
        if self.whole is None:
            threshold = self.settings["threshold"]
            scores = {name: evaluate.score(part.labels, part.probabilities, threshold) for name, part in parts.items()}
        else:
            scores = dict(self.whole.scores)
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "scores", scores)
