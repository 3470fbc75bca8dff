"""The tuning job: a table in, a configuration file for `churn train --config` out."""

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
    """What a user can choose.

    Attributes
    ----------
    seed : int
        Of the split, as `churn train` makes it, of the folds, and of what is tried.
    test_size : float
        Share of all rows that is held out, and never looked at.
    minutes : float
        For the search of this run.
    trials : int or None
        Configurations in all, those of earlier runs among them.
    parts : int
        Of the cross-validation.
    members : int
        Networks trained for each part.
    confirm : int
        Other seeds on which what was found is held against what is shipped; 0: none.
    base : Config
        The first trial, and the values of what is not searched.
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
class Found:
    """What a search came to.

    Attributes
    ----------
    config : Config
        The best tried.
    value, base_value : float
        Its cross-validated log loss, and that of what is shipped, in nats.
    trials : int
        Tried in all.
    comparison : Comparison or None
        On other folds; None where nothing better was found, or it was not asked for.
    """

    config: Config
    value: float
    base_value: float
    trials: int
    comparison: Comparison | None = None

    def describe(self) -> list[str]:
        """Say it in sentences."""
        losses = f"log loss {self.value:.5f}; what is shipped: {self.base_value:.5f}"
        words = [f"Best of {self.trials} configurations tried: cross-validated {losses}."]
        if self.value >= self.base_value:
            return [*words, "Nothing tried is better than what is shipped."]
        if self.comparison is None:
            return [*words, "Not held against what is shipped on other folds, so it may be luck."]
        judgement = (
            "better than what is shipped" if self.comparison.is_better else "no better than noise: keep what is shipped"
        )
        return [*words, f"On other folds, minus what is shipped: {self.comparison}: {judgement}."]


def tune(dataset: Dataset, output: Path, options: TuningOptions, say: Callable[[str], None]) -> Found:
    """Search, writing the best so far after each trial that is better; then ask whether it was luck.

    Parameters
    ----------
    dataset : Dataset
    output : Path
        The configuration file; the trials are kept beside it, in a file that ends in ``.sqlite``.
    options : TuningOptions
    say : callable (str) -> None
        Takes a line of progress.

    Raises
    ------
    TuningError
        If the trials beside the output are of another search, or another process is at it.
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
            say(f"going on after {count_finished(study)} trials in {kept}")
        with judging(options.seed) as judge:
            _run(study, judge, output, options, say)
        found = _sum_up(study, options)
        if options.confirm and found.value < found.base_value:
            seeds = [options.seed + 1 + index for index in range(options.confirm)]
            with tqdm(total=len(seeds), desc="asking on other folds", unit="seed", disable=None) as bar:
                comparison = confirm(judging, found.config, options.base, len(labels), seeds, bar.update)
            found = Found(found.config, found.value, found.base_value, found.trials, comparison)
    _write(output, found)
    return found


def _run(study: optuna.Study, judge: Judge, output: Path, options: TuningOptions, say: Callable[[str], None]) -> None:
    with tqdm(total=options.trials, initial=count_finished(study), desc="tuning", unit="trial", disable=None) as bar:

        def on_trial(trial: FrozenTrial) -> None:
            best = study.best_trial
            if best.number == trial.number:
                _write(output, _sum_up(study, options))
            pruned = f"worse than the best after {len(trial.intermediate_values)} of {options.parts} parts"
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


def _sum_up(study: optuna.Study, options: TuningOptions) -> Found:
    first = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[0]
    config = suggest(FixedTrial(study.best_params), options.base)
    return Found(config, study.best_value, float(first.values[0]), count_finished(study))


def _write(output: Path, found: Found) -> None:
    write_config(output, found.config, ["For churn train --config, written by churn tune.", *found.describe()])


def _identify(dataset: Dataset, options: TuningOptions) -> dict[str, Any]:
    """Return what trials must share to be compared."""
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
