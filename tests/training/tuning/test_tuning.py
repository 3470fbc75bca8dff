"""The search: what it tries, what it remembers, and what it never looks at."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from quick import CONFIG

pytest.importorskip("optuna", reason="the extra tune is not installed")

from optuna.trial import FixedTrial, TrialState

from training import job as training_job
from training.default.config import Config, read_config
from training.tuning import job, space
from training.tuning.confirm import compare, confirm
from training.tuning.errors import TuningError, check_output
from training.tuning.job import TuningOptions, TuningResult
from training.tuning.objective import Objective
from training.tuning.pruning import BLOCKS, is_worse
from training.tuning.search import search
from training.tuning.space import as_parameters, suggest
from training.tuning.storage import open_study
from training.tuning.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from training.dataset import Dataset

ROWS = 1000
IDENTITY = {"table": "bank", "seed": 0}


def judge(config: Config) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Judge without training: the closer dropout is to 0.4, the better, as every customer agrees, nearly."""
    noise = np.random.default_rng(0).normal(size=ROWS) * 0.001
    for rows in np.array_split(np.arange(ROWS), 4):
        yield rows, 0.3 + (config.dropout - 0.4) ** 2 + noise[rows] * (1 + config.noise)


def run(path: Path, trials: int, judged: Any = judge, **more: Any) -> list[tuple[TrialState, dict[str, Any]]]:
    with open_study(path, IDENTITY) as study:
        told: dict[str, Any] = {
            "seed": 3,
            "parts": 4,
            "trials": trials,
            "seconds": 600,
            "on_trial": lambda _: None,
        } | more
        search(study, judged, Config(), **told)
        return [(trial.state, trial.params) for trial in study.trials if trial.state != TrialState.FAIL]


def test_what_is_shipped_can_be_tried_and_is_tried_first(tmp_path: Path) -> None:
    assert suggest(FixedTrial(as_parameters(Config())), Config()) == Config()
    assert run(tmp_path / "a.sqlite", 1) == [(TrialState.COMPLETE, as_parameters(Config()))]


def test_every_configuration_that_may_be_tried_can_be_held_and_keeps_what_is_not_searched(tmp_path: Path) -> None:
    tried = []

    def remember(config: Config) -> Iterator[Any]:
        tried.append(config)
        return judge(config)

    run(tmp_path / "a.sqlite", 12, remember)
    assert len({config.dropout for config in tried}) == 12
    assert {(config.folds, config.tree_comparisons, config.networks) for config in tried} == {(5, 8000, 4)}
    assert len({config.tree_depths for config in tried}) > 3
    assert all(Config.from_dict(config.to_dict()) == config for config in tried)


def test_the_search_finds_what_is_better_and_gives_up_on_what_is_worse(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    states = [state for state, _ in run(path, 25)]
    assert TrialState.PRUNED in states
    with open_study(path, IDENTITY) as study:
        assert abs(study.best_params["dropout"] - 0.4) < 0.1
        pruned = study.get_trials(states=(TrialState.PRUNED,))[0]
        assert len(pruned.intermediate_values) < 4
        assert len(pruned.user_attrs[BLOCKS]) < len(study.best_trial.user_attrs[BLOCKS])


def test_a_search_that_was_cut_off_finds_what_it_would_have_found(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole.sqlite", 14)

    def interrupt(_: Config) -> Any:
        raise KeyboardInterrupt

    path = tmp_path / "cut.sqlite"
    run(path, 5)
    with pytest.raises(KeyboardInterrupt):
        run(path, 14, interrupt)
    assert run(path, 14) == whole
    assert run(tmp_path / "other.sqlite", 14, seed=4)[1:] != whole[1:]


def test_what_a_killed_process_left_running_is_tried_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with open_study(path, IDENTITY) as study:
        study.enqueue_trial(as_parameters(Config()))
        study.ask()
    assert run(path, 3) == run(tmp_path / "b.sqlite", 3)


def test_the_time_ends_the_search_but_not_before_what_is_shipped_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    assert [state for state, _ in run(path, 9, seconds=0)] == [TrialState.COMPLETE]
    assert len(run(path, 9, seconds=0)) == 1


def test_a_trial_is_cut_off_between_two_parts_when_the_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.tuning import search as module

    path = tmp_path / "a.sqlite"
    run(path, 1)
    clock = iter([0.0, 1.0, 100.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert len(run(path, 9, seconds=10)) == 1
    # One whose last part is judged is whole, whatever the time.
    clock = iter([0.0, 1.0, *[2.0] * 3, 100.0])

    def better(config: Config) -> Iterator[Any]:
        return judge(replace(config, dropout=0.4))

    assert [state for state, _ in run(path, 9, better, seconds=10)] == [TrialState.COMPLETE] * 2


def test_a_configuration_without_finite_losses_is_given_up_and_the_search_goes_on(tmp_path: Path) -> None:
    def spoil(config: Config) -> Iterator[Any]:
        for rows, losses in judge(config):
            yield rows, losses if config == Config() else np.full_like(losses, np.nan)

    states = [state for state, _ in run(tmp_path / "a.sqlite", 4, spoil)]
    assert states == [TrialState.COMPLETE, *[TrialState.PRUNED] * 3]
    with pytest.raises(TuningError, match="the default configuration has no finite log loss"):
        run(tmp_path / "b.sqlite", 4, lambda config: ((rows, losses * np.nan) for rows, losses in judge(config)))


def test_trials_of_another_search_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    run(path, 1)
    with (
        pytest.raises(TuningError, match=r"belong to another search \(seed differ\)"),
        open_study(path, {**IDENTITY, "seed": 1}),
    ):
        pass


def test_two_searches_at_one_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with (
        open_study(path, IDENTITY),
        pytest.raises(TuningError, match="another search is using the file"),
        open_study(path, {}),
    ):
        pass


def test_a_file_that_holds_no_trials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    path.write_text("these are no trials, and there are many of them" * 100)
    with pytest.raises(TuningError, match="not a file of trials"), open_study(path, IDENTITY):
        pass


def test_an_output_that_can_not_be_or_would_be_lost_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TuningError, match="the folder does not exist"):
        check_output(tmp_path / "missing" / "tuned.toml")
    with pytest.raises(TuningError, match="the trials are stored under this name"):
        check_output(tmp_path / "tuned.sqlite")
    mine = tmp_path / "mine.toml"
    check_output(mine)
    mine.write_text("[network]\n")
    with pytest.raises(TuningError, match="was not written by a search"):
        check_output(mine)
    mine.with_suffix(".sqlite").touch()
    check_output(mine)


def test_worse_means_worse_beyond_noise_on_the_blocks_both_have() -> None:
    best = np.random.default_rng(0).normal(0.3, 0.1, 40)
    apart = np.random.default_rng(1).normal(0, 0.01, 20)
    assert is_worse(list(best[:20] + apart + 0.01), list(best))
    assert not is_worse(list(best[:20] + apart - apart.mean() + 0.002), list(best))
    assert not is_worse(list(best[:20] - 0.01), list(best))
    assert not is_worse(list(best[:20]), list(best))


def test_a_comparison_says_whether_a_gain_stands_out() -> None:
    generator = np.random.default_rng(0)
    clear = compare(generator.normal(-0.01, 0.1, (3, 5000)), [1, 2, 3])
    assert clear.is_better
    assert clear.low < clear.mean < clear.high < 0
    assert str(clear).endswith("over seeds 1, 2, 3")
    # Seeds repeat the same customers: more of them don't narrow what the customers leave open.
    own = generator.normal(-0.0005, 0.1, 5000)
    assert compare(np.stack([own] * 9), [0] * 9).low == pytest.approx(compare(own[None], [0]).low)
    assert not compare(own[None], [0]).is_better


def test_both_are_judged_on_the_same_folds_of_each_other_seed() -> None:
    seeds: list[int] = []

    def judging(seed: int) -> Any:
        seeds.append(seed)
        return nullcontext(judge)

    found = replace(Config(), dropout=0.4)
    comparison = confirm(judging, found, Config(), ROWS, [7, 8], lambda: None)
    assert seeds == [7, 8]
    assert comparison.mean == pytest.approx(-(0.2**2))


def test_a_result_that_may_be_chance_is_described_as_such() -> None:
    def says(**more: Any) -> str:
        return TuningResult(Config(), 0.32, 0.33, 9, **more).describe()[-1]

    assert says().startswith("It was not compared")
    assert "better than the default" in says(comparison=compare(np.array([[-0.1, -0.2, -0.15]]), [1]))
    assert "keep the default" in says(comparison=compare(np.array([[-0.1, 0.2, -0.15]]), [1]))
    assert TuningResult(Config(), 0.33, 0.33, 9).describe()[-1] == "No configuration is better than the default."


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> TuningOptions:
    """A space in which nothing takes long."""
    monkeypatch.setattr(space, "INTEGERS", {"epochs": (1, 2), "bins": (4, 6), "depth": (1, 3)})
    monkeypatch.setattr(space, "WIDTHS", (4, 8))
    base = Config.from_dict(CONFIG)
    return TuningOptions(seed=2, trials=2, parts=2, members=2, confirm=0, base=base)


@pytest.mark.slow
def test_a_table_becomes_a_configuration_and_no_test_row_is_looked_at(
    dataset: Dataset, tiny: TuningOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    make = Worker.__init__

    def watch(self: Worker, schema: Any, raw: np.ndarray, labels: np.ndarray, **more: Any) -> None:
        seen.append(raw)
        make(self, schema, raw, labels, **more)

    monkeypatch.setattr(Worker, "__init__", watch)
    lines: list[str] = []
    output = tmp_path / "tuned.toml"
    found = job.tune(dataset, output, tiny, lines.append)
    rows = training_job.choose_rows(dataset.labels, training_job.Options(seed=2))
    for raw in seen:
        np.testing.assert_array_equal(raw, dataset.raw[rows["train"]])
    assert [line.split(":")[0] for line in lines] == ["trial 1", "trial 2"]
    assert read_config(output) == found.config
    assert output.read_text().startswith("# For churn train --config, written by churn tune.\n# Best of 2 ")
    again = job.tune(dataset, output, tiny, lines.append)
    assert again == found
    assert lines[2] == f"continuing after 2 trials in {tmp_path / 'tuned.sqlite'}"


@pytest.mark.slow
def test_every_customer_is_judged_once_by_those_who_were_not_trained_on_him(
    dataset: Dataset, tiny: TuningOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = Objective(dataset.schema, dataset.raw, dataset.labels, seed=0, parts=2, members=2)
    config = replace(tiny.base, epochs=12, batch_size=64, learning_rate=0.02)
    first, losses = objective.judge_part(config, 0)
    second, others = objective.judge_part(config, 1)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(len(dataset.labels)))
    share = dataset.labels.mean()
    ignorant = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert np.concatenate([losses, others]).mean() < ignorant
    with Worker(dataset.schema, dataset.raw, dataset.labels, seed=0, parts=2, members=2) as worker:
        parts = worker.judge(config)
        np.testing.assert_array_equal(next(parts)[1], losses)
        assert worker._process is not None
        worker._process.kill()
        with pytest.raises(TuningError, match=r"ended unexpectedly \(exit code -9\)"):
            next(parts)
        monkeypatch.setattr("training.tuning.worker.FITS", 1)
        processes = []
        for index, (rows, found) in enumerate(worker.judge(config)):
            processes.append(worker._process)
            np.testing.assert_array_equal(rows, (first, second)[index])
            np.testing.assert_array_equal(found, (losses, others)[index])
        assert processes[0] is not processes[1]
