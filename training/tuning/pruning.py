"""Prune trials that are significantly worse than the best one, paired by customer.

The folds have the same customers for every configuration, so paired differences in blocks of customers are compared.
Optuna's `WilcoxonPruner` is similar, but expects the blocks as intermediate values, the last of which the sampler then
uses as the value of a pruned trial. Here, intermediate values are means over all blocks so far.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.pruners import BasePruner
from optuna.trial import TrialState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

BLOCK_ROWS = 50
"""Approximate number of customers per block."""

BLOCKS = "blocks"
"""User attribute with the mean losses of the blocks."""

STANDARD_ERRORS = 1.64
"""Standard errors by which the mean paired difference must exceed 0 for pruning: a one-sided error of 5 %."""


class PairedPruner(BasePruner):
    """Prunes trials that are worse than the best one by more than `STANDARD_ERRORS`."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether to prune the trial."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not finished:
            return False
        best = min(finished, key=lambda one: one.value if one.value is not None else np.inf)
        return is_worse(trial.user_attrs[BLOCKS], best.user_attrs[BLOCKS])


def is_worse(blocks: list[float], best: list[float]) -> bool:
    """Return whether the losses are significantly above those of the best trial, which may have more blocks."""
    differences = np.array(blocks) - np.array(best[: len(blocks)])
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() > STANDARD_ERRORS * error)


def run_parts(trial: Trial, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> float:
    """Report the losses of each fold to the trial; return the mean of all folds.

    Parameters
    ----------
    trial : Trial
    parts : iterable of (rows, losses), each of shape (n,)
        Results of `Objective.judge`.

    Raises
    ------
    optuna.TrialPruned
        If the trial is pruned, or its losses are not finite.
    """
    seen: list[NDArray[np.float64]] = []
    blocks: list[float] = []
    for step, (_, losses) in enumerate(parts):
        if not np.isfinite(losses).all():
            raise TrialPruned
        seen.append(losses)
        blocks += [float(block.mean()) for block in np.array_split(losses, max(2, len(losses) // BLOCK_ROWS))]
        trial.set_user_attr(BLOCKS, blocks)
        trial.report(float(np.concatenate(seen).mean()), step)
        if trial.should_prune():
            raise TrialPruned
    return float(np.concatenate(seen).mean())
