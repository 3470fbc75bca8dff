"""What a network is taught from, and what comes of it."""

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
    """What a network is taught from.

    Attributes
    ----------
    matrix : ndarray of float32, shape (n, width)
        The preprocessor's.
    labels : ndarray of float32, shape (n,)
        1 for a customer who left, 0 for one who stayed.
    preprocessor : Preprocessor
        Says which columns of the matrix belong to one feature.
    config : Config
        For the default network.
    seed : int
    earlier : keras.Model or None
        A network whose weights are the start.
    """

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    preprocessor: Preprocessor
    config: Config
    seed: int
    earlier: keras.Model | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A taught network and what was seen on the way.

    Attributes
    ----------
    model : keras.Model
        From the matrix to a probability, shape (n, 1).
    history : dict of str to list of float
        Per epoch, in nats: ``loss``, and ``val_loss`` where rows were left out.
    out_of_fold : ndarray of float64, shape (n,), or None
        Each customer's probability by those who were not taught on him, where the network is cross-validated.
    notes : tuple of str
        What a person should know of this network, a sentence each.
    """

    model: keras.Model
    history: dict[str, list[float]]
    out_of_fold: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
