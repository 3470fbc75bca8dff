"""How much is tried: `--quick`, the default, `--best`, and what a row may cost."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quick import CONFIG

from churn.feature import Feature
from churn.schema import Schema
from training import best, job
from training.dataset import Dataset
from training.default import trees
from training.default.config import Config
from training.default.presets import limit_time, list_better, make_quick, thin_stack


def test_quick_asks_less_than_the_default_and_best_begins_with_it() -> None:
    quick = make_quick(Config())
    assert (quick.networks, quick.importance_steps, len(quick.tree_depths)) == (0, (), 1)
    assert quick.folds < Config().folds
    candidates = list_better(Config())
    assert candidates[0] == Config()
    assert len(set(candidates)) == len(candidates) > 3
    assert all(Config.from_dict(config.to_dict()) == config for config in candidates)


@pytest.mark.parametrize("config", [make_quick(Config()), make_quick(replace(Config(), tree_comparisons=40))])
def test_quick_fits_its_trees_once_unless_they_cost_too_much(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    generator = np.random.default_rng(0)
    raw = generator.normal(size=(600, 2))
    labels = (raw[:, 0] + generator.normal(size=600) > 1).astype(np.float64)
    fitted: list[trees.TreeBag] = []
    fit_bag = trees.fit_bag

    def fit(*given: Any, **options: Any) -> trees.TreeBag:
        fitted.append(fit_bag(*given, **options))
        return fitted[-1]

    monkeypatch.setattr(trees, "fit_bag", fit)
    dataset = Dataset(Schema((Feature("x", "number"), Feature("y", "number")), "left"), raw, labels, {}, ())
    details = job.fit(dataset, {"train": np.arange(600)}, job.Options(config=config)).result.details
    is_small = config.tree_comparisons < Config().tree_comparisons
    assert [len(fitted) > 1, details["choice"]["learning_rate"] > trees.QUICK_RATE] == [is_small, is_small]
    assert details["choice"]["features_left_out"] == []
    assert details["out_of_fold"]["trees"] < details["out_of_fold"]["share of leavers"]


def test_more_time_is_spent_on_the_stack_and_less_on_a_student() -> None:
    double = limit_time(Config(), 120)
    assert double.tree_comparisons == 2 * Config().tree_comparisons
    assert double.multiplications == 2 * Config().multiplications
    assert limit_time(Config(), 30) == replace(Config(), budget=30.0)


def test_a_stack_that_no_student_replaces_is_thinned() -> None:
    half = thin_stack(limit_time(Config(), 30))
    assert half.tree_comparisons == Config().tree_comparisons // 2
    assert half.multiplications == Config().multiplications // 2
    assert thin_stack(Config()) == Config()
    assert thin_stack(limit_time(Config(), 120)) == limit_time(Config(), 120)


def fit_best(
    monkeypatch: pytest.MonkeyPatch, losses: list[float], seconds: float, minutes: float
) -> tuple[Any, list[Config]]:
    """Fit with given losses, each fit taking so many seconds; return what was kept and what was tried."""
    tried: list[Config] = []
    clock = [0.0]

    def fit(config: Config) -> Any:
        tried.append(config)
        clock[0] += seconds
        result = SimpleNamespace(details={"out_of_fold": {"stack": losses[len(tried) - 1]}})
        return SimpleNamespace(result=result, config=config)

    monkeypatch.setattr(best.time, "monotonic", lambda: clock[0])
    lines: list[str] = []
    fitted: Any
    fitted, config = best.fit_best(fit, Config.from_dict(CONFIG), minutes, lines.append)
    assert fitted.config == config
    assert len(lines) == len(tried)
    return fitted, tried


def test_the_best_out_of_fold_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = list_better(Config.from_dict(CONFIG))
    losses = [0.4, 0.35, 0.3, 0.38, 0.39, 0.41]
    fitted, tried = fit_best(monkeypatch, losses, seconds=1, minutes=10)
    assert tried == candidates
    assert fitted.config == candidates[int(np.argmin(losses))]


def test_what_would_be_published_decides_not_the_stack() -> None:
    found = [{"stack": 0.3, "student": 0.4}, {"stack": 0.35, "student": 0.36}]
    results = [SimpleNamespace(result=SimpleNamespace(details={"out_of_fold": losses})) for losses in found]
    waiting = iter([*results, *[SimpleNamespace(result=SimpleNamespace(details={"out_of_fold": {"stack": 0.5}}))] * 4])
    fitted, _ = best.fit_best(lambda _: next(waiting), Config(), 10, lambda _: None)  # type: ignore[arg-type,return-value]
    assert fitted.result.details["out_of_fold"] == found[1]


@pytest.mark.parametrize(("minutes", "fits"), [(0.1, 1), (2.0, 2), (3.1, 3)])
def test_no_fit_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch, minutes: float, fits: int) -> None:
    _, tried = fit_best(monkeypatch, [0.4] * 6, seconds=60, minutes=minutes)
    assert len(tried) == fits


def test_options_of_the_effort_are_in_the_settings_of_the_manifest() -> None:
    config = replace(Config(), folds=7)
    assert job.describe(job.Options(config=config))["config"]["folds"] == 7
