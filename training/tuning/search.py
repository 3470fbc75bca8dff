"""The search: what to try next, until the time or the trials are spent."""

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
    """Yields, part by part, the customers left out and each one's log loss in nats."""

RANDOM_TRIALS = 8
"""Trials before the sampler trusts what it has seen."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class OutOfTimeError(Exception):
    """The time is up between two parts of a trial."""


def count_finished(study: optuna.Study) -> int:
    """Return the number of trials that came to an end, pruned ones among them."""
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
    """Try configurations until the time is up or the study has so many trials; the first is `base`, whatever it takes.

    What is tried next follows from the seed and the trials finished so far, so a search that was cut off finds what
    it would have found. A trial cut off is tried anew.

    Parameters
    ----------
    study : Study
    judge : callable (Config) -> iterable of (rows, losses)
    base : Config
        What is shipped.
    seed : int
    parts : int
        That `judge` yields.
    trials : int or None
        In the study, those of earlier runs among them.
    seconds : float
    on_trial : callable (FrozenTrial) -> None
        Called after each trial that came to an end.

    Raises
    ------
    TuningError
        If what is shipped can't be judged.
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
            raise TuningError("what is shipped comes to no finite log loss on this table: there is nothing to search")
        on_trial(told)


def _until(deadline: float, judged: Iterable[Part], parts: int) -> Iterator[Part]:
    for number, part in enumerate(judged, 1):
        yield part
        if number < parts and time.monotonic() > deadline:
            raise OutOfTimeError
