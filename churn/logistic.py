"""The logistic function and its inverse, named as in `scipy.special`; the service has no SciPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@overload
def expit(logits: float) -> float: ...
@overload
def expit(logits: NDArray[np.float64]) -> NDArray[np.float64]: ...
def expit(logits: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Return the probabilities 1 / (1 + e^-x) of logits x, of any shape."""
    with np.errstate(over="ignore"):  # of e^-x, where the probability is 0
        return 1 / (1 + np.exp(-logits))


@overload
def logit(probabilities: float) -> float: ...
@overload
def logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]: ...
def logit(probabilities: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """Return the logits log(p / (1 - p)), in nats, of probabilities p between 0 and 1, of any shape."""
    return np.log(probabilities) - np.log1p(-probabilities)
