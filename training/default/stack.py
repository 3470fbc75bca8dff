"""Weights that combine the logits of the families into one, fitted on logits out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from training.default.folds import losses_of, mean_and_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

RIDGE = 1.0
"""Penalty on the squared distance from equal weights that add up to 1, in nats over all rows; for small tables."""
LEAST_WEIGHT = 0.04
"""A family with a lower weight is left out and the others are fitted again: it would cost inference time for little."""

LEAST_GAIN = 2.0
"""Standard errors by which the stack must be better than the share of leavers. Families and features are chosen on the
same rows, so a gain of one standard error is often chance."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A weighted sum of the families' logits.

    Attributes
    ----------
    weights : dict of str to float
        Of each family, 0 or more.
    bias : float
    logits : ndarray of float64, shape (n,)
        Out of fold.
    """

    weights: dict[str, float]
    bias: float
    logits: NDArray[np.float64]


def fit_stack(families: Mapping[str, NDArray[np.float64]], labels: NDArray[np.float32]) -> Stack:
    """Fit non-negative weights and a bias that have the least log loss (Wolpert, 1992; Breiman, 1996).

    Where no weights are better than the share of leavers by more than `LEAST_GAIN` standard errors, all are 0 and the
    bias says that share.

    Parameters
    ----------
    families : mapping of str to ndarray of float64, shape (n,)
        Logits out of fold.
    labels : ndarray of float32, shape (n,)
    """
    share = float(labels.mean())
    base = np.full(len(labels), logit(share))
    chosen = dict(families)
    while True:
        weights, bias = _minimise(np.stack(list(chosen.values()), axis=1), labels)
        kept = weights >= min(LEAST_WEIGHT, weights.max())
        if kept.all():
            break
        chosen = {name: logits for (name, logits), keep in zip(chosen.items(), kept, strict=True) if keep}
    logits = np.stack(list(chosen.values()), axis=1) @ weights + bias
    gain, error = mean_and_error(losses_of(labels, base) - losses_of(labels, logits))
    if not gain > LEAST_GAIN * error:
        return Stack(dict.fromkeys(families, 0.0), float(base[0]), base)
    found = dict(zip(chosen, map(float, weights), strict=True))
    return Stack({name: found.get(name, 0.0) for name in families}, bias, logits)


def fit_scaling(logits: NDArray[np.float64], labels: NDArray[np.float32]) -> tuple[float, float]:
    """Return (slope, offset) so that slope · logit + offset has the least log loss (Platt, 1999).

    Parameters
    ----------
    logits : ndarray of float64, shape (n,)
    labels : ndarray of float32, shape (n,)
    """
    weights, offset = _minimise(logits[:, None], labels)
    return float(weights[0]), offset


def _minimise(logits: NDArray[np.float64], labels: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    rows, families = logits.shape
    equal = np.full(families, 1 / families)

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights, total = parameters[:-1], logits @ parameters[:-1] + parameters[-1]
        errors = (expit(total) - labels) / rows
        pull = RIDGE / rows * (weights - equal)
        value = losses_of(labels, total).mean() + pull @ (weights - equal)
        return float(value), np.append(logits.T @ errors + 2 * pull, errors.sum())

    bounds = [(0.0, None)] * families + [(None, None)]
    found = minimize(loss, np.append(equal, 0.0), jac=True, bounds=bounds, method="L-BFGS-B").x
    return found[:-1], float(found[-1])
