"""How far the probability of a customer can be trusted: how rare such customers are, and how sure the network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from churn.errors import EngineError
from churn.logistic import expit, logit
from churn.reasons.rounding import DECIMALS
from churn.reasons.session import Session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.support import SupportData

SHARE_DECIMALS = 4
"""The share is counted among at most some thousand customers."""

LEAST_PROBABILITY = 1e-6
"""Probabilities are kept so far from 0 and 1 before they become logits: as far as they are rounded."""


class Support(NamedTuple):
    """How far the probability of one customer can be trusted.

    Attributes
    ----------
    share : float
        Share of customers who are as far from their neighbours in the training set as this one, above 0 to 1. At most
        this share of new customers like those of the training set has a share as low.
    position : int
        Feature without which the customer would be nearer to the neighbours, most so compared with what is usual; a
        column of the raw matrix.
    low, high : float or None
        Where the probability of a network that is trained on other customers lies in nine of ten cases. None if the
        version has one network only.
    """

    share: float
    position: int
    low: float | None = None
    high: float | None = None


class SupportFinder:
    """Finds the support of customers. Methods may be called by several threads.

    Each customer is compared alone, and the members are run in ONNX Runtime whatever engine serves: the result depends
    neither on the engine nor on the other customers.

    Parameters
    ----------
    data : SupportData
    width : int
        Number of inputs of the network.

    Raises
    ------
    EngineError
        If the members can't be read, or are no members of this network.
    """

    def __init__(self, data: SupportData, width: int) -> None:
        self._data = data
        # Each axis is compared by itself: columns that are contiguous take a third of the time.
        self._reference = np.asfortranarray(data.reference)
        self._session = None if data.members is None else Session(data.members.network)
        if self._session is not None:
            try:
                found = self._session.run(np.zeros((1, width), np.float32))
            except Exception as error:  # noqa: BLE001  ONNX Runtime's errors have no common base class
                raise EngineError(f"the members can't be run on {width} inputs: {error}") from None
            if found.shape[:1] != (1,) or found.size < 2 or not np.isfinite(found).all():
                raise EngineError(f"the members return an array of shape {found.shape}; allowed: (1, 2 or more)")

    def find(self, raw: NDArray[np.float64], matrix: NDArray[np.float32], probability: float) -> Support:
        """Return the support of one customer.

        Parameters
        ----------
        raw : ndarray of float64, shape (1, features)
        matrix : ndarray of float32, shape (1, width)
            Input of the network for the same customer.
        probability : float
        """
        data, space = self._data, self._data.space
        distance, drops = space.find_distance(self._reference, space.place(raw)[0], data.neighbours)
        farther = len(data.distances) - int(np.searchsorted(data.distances, distance, "left"))
        share = round((1 + farther) / (1 + len(data.distances)), SHARE_DECIMALS)
        position = space.axes[int(np.argmax(drops - data.usual))].source
        return Support(share, position, *self._find_range(matrix, probability))

    def _find_range(self, matrix: NDArray[np.float32], probability: float) -> tuple[float, float] | tuple[None, None]:
        members = self._data.members
        if self._session is None or members is None:
            return None, None
        logits = clipped_logit(self._session.run(matrix)[0].astype(np.float64))
        # A variance of few numbers is uncertain: it counts as much as what is usual.
        deviation = np.sqrt((logits.var(ddof=1) + members.variance) / 2)
        center, half = float(clipped_logit(np.array(probability))), members.factor * float(deviation)
        low, high = (expit(center + side * half) for side in (-1, 1))
        return round(float(min(low, probability)), DECIMALS), round(float(max(high, probability)), DECIMALS)


def clipped_logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits of probabilities, which are first kept from 0 and 1; of any shape."""
    return logit(probabilities.clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
