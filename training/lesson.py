"""Input and result of training a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

    from churn.preprocessing import Preprocessor
    from training.default.config import Config


@dataclass(frozen=True, slots=True)
class Lesson:
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
    earlier : keras.Model or None
        Network whose weights are the start.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    preprocessor: Preprocessor
    config: Config
    seed: int
    earlier: keras.Model | None = None


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
        Out-of-fold probabilities, if the network is cross-validated.
    notes : tuple of str
        Remarks on the network for the model card, one sentence each.
    """

    model: keras.Model
    history: dict[str, list[float]]
    out_of_fold: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
