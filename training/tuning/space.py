"""Search space: ranges around the default values.

Not searched are `folds` (more are better and slower), and `tree_comparisons` and `multiplications`, which determine the
inference time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from training.default.config import Config

FLOATS = {
    "learning_rate": (3e-3, 5e-2, True),
    "weight_decay": (1e-2, 1.0, True),
    "dropout": (0.0, 0.5, False),
    "noise": (0.0, 0.3, False),
    "averaging": (0.9, 0.995, False),
    "strict_importance": (1.0, 8.0, False),
}
"""Minimum, maximum, and whether the distribution is log-uniform."""

INTEGERS = {"epochs": (10, 80), "bins": (4, 32), "depth": (3, 9)}
BATCH_SIZES = (64, 128, 256)
WIDTHS = (16, 32, 64, 96)


def suggest(trial: BaseTrial, base: Config) -> Config:
    """Sample a configuration; hyperparameters that are not searched are taken from `base`.

    Numbers are rounded to three significant digits, so that the written file is exactly what was tried. One depth of
    the trees is searched, and the neighbouring depths are tried as well.
    """
    chosen: dict[str, Any] = {
        name: float(f"{trial.suggest_float(name, low, high, log=log):.3g}") for name, (low, high, log) in FLOATS.items()
    }
    chosen |= {name: trial.suggest_int(name, low, high) for name, (low, high) in INTEGERS.items()}
    depth, shipped = chosen.pop("depth"), base.tree_depths
    middle = shipped[len(shipped) // 2]
    depths = tuple(dict.fromkeys(max(1, min(10, each + depth - middle)) for each in shipped))
    chosen["batch_size"] = trial.suggest_categorical("batch_size", BATCH_SIZES)
    hidden = tuple(trial.suggest_categorical(name, WIDTHS) for name in ("width", "second_width"))
    return replace(base, hidden=hidden, tree_depths=depths, **chosen)


def as_parameters(config: Config) -> dict[str, Any]:
    """Return the parameters from which `suggest` would create a configuration."""
    names = [*FLOATS, "epochs", "bins", "batch_size"]
    own = {"depth": config.tree_depths[len(config.tree_depths) // 2], "width": config.hidden[0]}
    return {name: getattr(config, name) for name in names} | own | {"second_width": config.hidden[-1]}
