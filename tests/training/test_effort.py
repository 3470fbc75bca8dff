"""How much is tried: `--quick`, the default, `--best`, and what a row may cost."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from quick import CONFIG

from training import best, job
from training.default.config import Config
from training.default.presets import limit_time, list_better, make_quick


def test_quick_asks_less_than_the_default_and_best_begins_with_it() -> None:
    quick = make_quick(Config())
    assert (quick.networks, quick.importance_steps, len(quick.tree_depths)) == (0, (), 1)
    assert quick.folds < Config().folds
    candidates = list_better(Config())
    assert candidates[0] == Config()
    assert len(set(candidates)) == len(candidates) > 3
    assert all(Config.from_dict(config.to_dict()) == config for config in candidates)


def test_half_the_time_is_half_the_comparisons_and_products() -> None:
    half = limit_time(Config(), 30)
    assert half.tree_comparisons == Config().tree_comparisons // 2
    assert half.multiplications == Config().multiplications // 2
    assert limit_time(Config(), 60) == Config()


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


@pytest.mark.parametrize(("minutes", "fits"), [(0.1, 1), (2.0, 2), (3.1, 3)])
def test_no_fit_begins_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch, minutes: float, fits: int) -> None:
    _, tried = fit_best(monkeypatch, [0.4] * 6, seconds=60, minutes=minutes)
    assert len(tried) == fits


def test_options_of_the_effort_are_in_the_settings_of_the_manifest() -> None:
    config = replace(Config(), folds=7)
    assert job.describe(job.Options(config=config))["config"]["folds"] == 7
