"""Gives up on a configuration once it is shown to be worse than the best, customer by customer.

The parts hold the same customers for every configuration, so what is compared is their paired difference, in blocks.
Optuna's `WilcoxonPruner` does alike, but wants the blocks as intermediate values, the last of which its sampler then
takes for the whole of a configuration that was given up. Here intermediate values are means over all seen so far.
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
"""Customers a block, about: enough blocks for a standard error, and few numbers to keep."""

BLOCKS = "blocks"
"""The user attribute with the mean loss of each block so far."""

STANDARD_ERRORS = 1.64
"""By so many the mean paired difference must be above 0: a chance of 5 % at each look for one that is as good."""


class PairedPruner(BasePruner):
    """Prunes a trial whose blocks are worse than the best trial's by `STANDARD_ERRORS`."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Say whether to give the trial up."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not finished:
            return False
        best = min(finished, key=lambda one: one.value if one.value is not None else np.inf)
        return is_worse(trial.user_attrs[BLOCKS], best.user_attrs[BLOCKS])


def is_worse(blocks: list[float], best: list[float]) -> bool:
    """Say whether the blocks' losses are above the best's beyond doubt; the best may have more blocks."""
    differences = np.array(blocks) - np.array(best[: len(blocks)])
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return bool(differences.mean() > STANDARD_ERRORS * error)


def run_parts(trial: Trial, parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> float:
    """Report each part's losses to the trial as they come; return the mean of all.

    Parameters
    ----------
    trial : Trial
    parts : iterable of (rows, losses)
        Of `Objective.judge`.

    Raises
    ------
    optuna.TrialPruned
        Where the trial is given up, or its losses are not finite.
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
