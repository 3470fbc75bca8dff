"""The tuning job: search hyperparameters on a table and write a file for `churn train --config`."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.trial import FixedTrial, TrialState
from tqdm import tqdm

from churn import __version__
from training import job
from training.default.config import Config, write_config
from training.tuning.confirm import Comparison, confirm
from training.tuning.errors import TRIALS_SUFFIX
from training.tuning.search import count_finished, search
from training.tuning.space import suggest
from training.tuning.storage import open_study
from training.tuning.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from training.dataset import Dataset
    from training.tuning.search import Judge


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """Options of a search.

    Attributes
    ----------
    seed : int
        Seed of the split (as in `churn train`), of the folds and of the trials.
    test_size : float
        Fraction of all rows that is held out and never used.
    minutes : float
        Time limit of this run.
    trials : int or None
        Maximum number of trials, including those of earlier runs.
    parts : int
        Folds of the cross-validation.
    members : int
        Folds of the inner cross-validation, at least 2; see `Config.folds`.
    confirm : int
        Number of further seeds on which the result is compared with the default; 0 for none.
    base : Config
        First trial, and values of hyperparameters that are not searched.
    """

    seed: int = 0
    test_size: float = 0.2
    minutes: float = 30.0
    trials: int | None = None
    parts: int = 5
    members: int = 5
    confirm: int = 3
    base: Config = field(default_factory=Config)


@dataclass(frozen=True, slots=True)
class TuningResult:
    """Result of a search.

    Attributes
    ----------
    config : Config
        Best configuration.
    value, base_value : float
        Its cross-validated log loss and that of the default, in nats.
    trials : int
        Total number of trials.
    comparison : Comparison or None
        Comparison on other folds; None if nothing better was found or it was not requested.
    """

    config: Config
    value: float
    base_value: float
    trials: int
    comparison: Comparison | None = None

    def describe(self) -> list[str]:
        """Return the result in sentences."""
        losses = f"log loss {self.value:.5f}; default configuration: {self.base_value:.5f}"
        words = [f"Best of {self.trials} configurations tried: cross-validated {losses}."]
        if self.value >= self.base_value:
            return [*words, "No configuration is better than the default."]
        if self.comparison is None:
            return [
                *words,
                "It was not compared with the default on other folds, so the difference may be due to chance.",
            ]
        judgement = (
            "better than the default" if self.comparison.is_better else "no significant difference: keep the default"
        )
        return [*words, f"Difference to the default on other folds: {self.comparison}: {judgement}."]


def tune(dataset: Dataset, output: Path, options: TuningOptions, say: Callable[[str], None]) -> TuningResult:
    """Run the search, writing the best configuration after each improvement; then compare it with the default.

    Parameters
    ----------
    dataset : Dataset
    output : Path
        Configuration file; trials are stored next to it in a file with the suffix ``.sqlite``.
    options : TuningOptions
    say : callable (str) -> None
        Called with each line of progress.

    Raises
    ------
    TuningError
        If the stored trials belong to another search, or another process is running it.
    """
    rows = job.choose_rows(dataset.labels, job.Options(seed=options.seed, test_size=options.test_size))["train"]
    raw, labels = dataset.raw[rows], dataset.labels[rows]

    @contextmanager
    def judging(seed: int) -> Iterator[Judge]:
        with Worker(dataset.schema, raw, labels, seed=seed, parts=options.parts, members=options.members) as worker:
            yield worker.judge

    identity = _identify(dataset, options)
    kept = output.with_suffix(TRIALS_SUFFIX)
    with open_study(kept, identity) as study:
        if count_finished(study):
            say(f"continuing after {count_finished(study)} trials in {kept}")
        with judging(options.seed) as judge:
            _run(study, judge, output, options, say)
        found = _sum_up(study, options)
        if options.confirm and found.value < found.base_value:
            seeds = [options.seed + 1 + index for index in range(options.confirm)]
            with tqdm(total=len(seeds), desc="comparing on other folds", unit="seed", disable=None) as bar:
                comparison = confirm(judging, found.config, options.base, len(labels), seeds, bar.update)
            found = TuningResult(found.config, found.value, found.base_value, found.trials, comparison)
    _write(output, found)
    return found


def _run(study: optuna.Study, judge: Judge, output: Path, options: TuningOptions, say: Callable[[str], None]) -> None:
    with tqdm(total=options.trials, initial=count_finished(study), desc="tuning", unit="trial", disable=None) as bar:

        def on_trial(trial: FrozenTrial) -> None:
            best = study.best_trial
            if best.number == trial.number:
                _write(output, _sum_up(study, options))
            pruned = f"worse than the best after {len(trial.intermediate_values)} of {options.parts} folds"
            ended = pruned if trial.state == TrialState.PRUNED else f"{trial.value:.5f}"
            bar.update()
            bar.clear()
            say(f"trial {count_finished(study)}: {ended} (best {best.value:.5f})")

        search(
            study,
            judge,
            options.base,
            seed=options.seed,
            parts=options.parts,
            trials=options.trials,
            seconds=60 * options.minutes,
            on_trial=on_trial,
        )


def _sum_up(study: optuna.Study, options: TuningOptions) -> TuningResult:
    first = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[0]
    config = suggest(FixedTrial(study.best_params), options.base)
    return TuningResult(config, study.best_value, float(first.values[0]), count_finished(study))


def _write(output: Path, found: TuningResult) -> None:
    write_config(output, found.config, ["For churn train --config, written by churn tune.", *found.describe()])


def _identify(dataset: Dataset, options: TuningOptions) -> dict[str, Any]:
    """Return the parameters that all trials of a search have in common."""
    digest = hashlib.sha256(dataset.raw.tobytes() + dataset.labels.tobytes()).hexdigest()
    return {
        "table": f"{dataset.source['file']} ({digest[:12]})",
        "seed": options.seed,
        "test_size": options.test_size,
        "parts": options.parts,
        "members": options.members,
        "program": __version__,
        "base": options.base.to_dict(),
    }
