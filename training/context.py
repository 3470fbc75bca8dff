"""Input and result of training a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import keras
    import numpy as np
    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from training.default.config import Config
    from training.warm_start import EarlierModel


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """Input of training a network.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n, width)
        Output of the preprocessor.
    labels : ndarray of float32, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    preprocessor : Preprocessor
        Gives the columns of the matrix that belong to each feature.
    config : Config
        Hyperparameters of the default network.
    seed : int
    earlier : EarlierModel or None
        A version to start from.
    folds : list of (ndarray of int64, ndarray of int64)
        Of the default network's cross-validation: rows to fit on, and rows held out.
    inner : mapping of int to ndarray of float32, shape (n,)
        By column of label statistics: what the rows that its fold is fitted on get instead.
    feature_names : tuple of str
        By raw column.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    preprocessor: Preprocessor
    config: Config
    seed: int
    earlier: EarlierModel | None = None
    folds: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=list)
    inner: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)
    feature_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A trained network and its training history.

    Attributes
    ----------
    model : keras.Model
        Maps the matrix to probabilities, shape (n, 1).
    history : dict of str to list of float
        Losses per epoch in nats: ``loss``, and ``val_loss`` if rows were held out.
    out_of_fold : ndarray of float64, shape (n,), or None
        Of each row by a network that has not seen it, if the network is cross-validated. Where a student replaces the
        stack, they are those of students of the members that were not fitted on the row.
    members : tuple of keras.Model
        Networks like `model`, each of which was not fitted on the rows of one fold. They show how much the probability
        of a customer depends on the training set. Empty if the network is not cross-validated, or the same for all.
    notes : tuple of str
        What a person should know of this network, a sentence each.
    warnings : tuple of str
        What stands on top of the report, one sentence each: why this network should not be trusted or used.
    details : mapping
        Of the default network, as the manifest keeps them: weights of the stack, losses out of fold, sizes.
    """

    model: keras.Model
    history: dict[str, list[float]]
    out_of_fold: NDArray[np.float64] | None = None
    members: tuple[keras.Model, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
