"""Run trials until the time or the number of trials is exhausted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import optuna
from optuna.trial import TrialState

from training.tuning.errors import TuningError
from training.tuning.pruning import run_parts
from training.tuning.space import as_parameters, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray
    from optuna.trial import FrozenTrial

    from training.default.config import Config

    Part = tuple[NDArray[np.int64], NDArray[np.float64]]
    Judge = Callable[[Config], Iterable[Part]]
    """Yields the held-out customers and their log losses in nats for each fold."""

RANDOM_TRIALS = 8
"""Number of random trials before the sampler uses results."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class OutOfTimeError(Exception):
    """The time limit was reached between two folds of a trial."""


def count_finished(study: optuna.Study) -> int:
    """Return the number of finished trials, including pruned ones."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def search(
    study: optuna.Study,
    judge: Judge,
    base: Config,
    *,
    seed: int,
    parts: int,
    trials: int | None,
    seconds: float,
    on_trial: Callable[[FrozenTrial], None],
) -> None:
    """Run trials until the time or the number of trials is reached; the first trial is `base` and always completes.

    The next trial depends only on the seed and the finished trials, so an interrupted search continues with the same
    trials. An interrupted trial is repeated.

    Parameters
    ----------
    study : Study
    judge : callable (Config) -> iterable of (rows, losses)
    base : Config
        Default configuration.
    seed : int
    parts : int
        Number of folds that `judge` yields.
    trials : int or None
        Maximum number of trials of the study, including earlier runs.
    seconds : float
    on_trial : callable (FrozenTrial) -> None
        Called after each finished trial.

    Raises
    ------
    TuningError
        If the default configuration can't be evaluated.
    """
    deadline = time.monotonic() + seconds
    if not count_finished(study):
        study.enqueue_trial(as_parameters(base), skip_if_exists=False)
    while (done := count_finished(study)) == 0 or (time.monotonic() < deadline and (trials is None or done < trials)):
        state = int(np.random.SeedSequence([seed, done]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=state, n_startup_trials=RANDOM_TRIALS, multivariate=True)
        trial = study.ask()
        value, ending = None, TrialState.FAIL
        try:
            judged = judge(suggest(trial, base))
            value = run_parts(trial, judged if done == 0 else _until(deadline, judged, parts))
            ending = TrialState.COMPLETE
        except optuna.TrialPruned:
            ending = TrialState.PRUNED
        except OutOfTimeError:
            return
        finally:
            told = study.tell(trial, value, state=ending)
        if done == 0 and ending != TrialState.COMPLETE:
            raise TuningError(
                "the default configuration has no finite log loss on this table, so there is nothing to "
                "compare trials with"
            )
        on_trial(told)


def _until(deadline: float, judged: Iterable[Part], parts: int) -> Iterator[Part]:
    for number, part in enumerate(judged, 1):
        yield part
        if number < parts and time.monotonic() > deadline:
            raise OutOfTimeError
