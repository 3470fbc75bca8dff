"""Networks trained in a second or two, for tests that need a network and not a good one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from training.job import Options

CONFIG = {
    "folds": 2,
    "tree_depths": [2],
    "importance_steps": [],
    "tree_comparisons": 60,
    "tree_passes": 3,
    "networks": 1,
    "hidden": [8, 8],
    "epochs": 2,
    "bins": 6,
}
"""What the default network is told."""

EPOCHS = 2
"""Of the reference network."""


def make_options(**chosen: Any) -> Options:
    """Return options with the quick configuration."""
    from training.default.config import Config
    from training.job import Options

    return Options(config=Config.from_dict(CONFIG), **chosen)


def write_config(path: Path) -> Path:
    """Write the quick configuration for ``--config``."""
    lines = [f"{name} = {value}" for name, value in CONFIG.items()]
    path.write_text("\n".join(["[network]", *lines]))
    return path


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """Let every training be quick, whatever it is told."""
    from training import job, reference
    from training.default.config import Config

    patch.setattr(reference, "EPOCHS", EPOCHS)
    fit = job.fit

    def fit_quickly(dataset: Any, rows: Any, options: Any, *rest: Any) -> Any:
        from dataclasses import replace

        return fit(dataset, rows, replace(options, config=Config.from_dict(CONFIG)), *rest)

    patch.setattr(job, "fit", fit_quickly)
    judge_without_teaching(patch)


def judge_without_teaching(patch: pytest.MonkeyPatch) -> list[Any]:
    """Let the search's worker say that a dropout of 0.4 is best; return what it was asked, where a None is a Ctrl-C."""
    import numpy as np

    from training.tuning.worker import Worker

    asked: list[Any] = []

    def judge(self: Any, config: Any) -> Any:
        if asked and asked[-1] is None:
            asked.pop()
            raise KeyboardInterrupt
        asked.append(config)
        customers = len(self._arguments[-1])
        noise = np.random.default_rng(0).normal(size=customers) * 1e-6
        for rows in np.array_split(np.arange(customers), self._options["parts"]):
            yield rows, 0.3 + (config.dropout - 0.4) ** 2 + noise[rows]

    patch.setattr(Worker, "judge", judge)
    return asked
