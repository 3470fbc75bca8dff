"""What the search may try: ranges around what is shipped.

Left alone are `folds` and `repeats` (more is better, and dearer) and the student's size and lessons (they set the
price of a customer; how well the student repeats its teachers is not what is searched); `tail_gain`, as `max_tails`
bounds the same tails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from training.default.config import Config

FLOATS = {
    "learning_rate": (3e-3, 1e-1, True),
    "weight_decay": (1e-3, 3e-1, True),
    "dropout": (0.0, 0.5, False),
    "noise": (0.0, 0.3, False),
    "averaging": (0.9, 0.995, False),
    "label_noise": (0.0, 0.02, False),
    "keep_columns": (0.0, 8.0, False),
    "tree_weight": (0.0, 0.4, False),
}
"""Least, most, and whether the logarithm is uniform."""

INTEGERS = {"epochs": (10, 40), "max_tails": (0, 6)}
WIDTHS = (32, 48, 64, 96, 128)
DEPTHS = (1, 2, 3)
BATCH_SIZES = (128, 256, 512)


def suggest(trial: BaseTrial, base: Config) -> Config:
    """Ask the trial for a configuration; what is not searched is as in `base`.

    Numbers keep three significant digits, so that what is written can be read and is what was tried.
    """
    chosen: dict[str, Any] = {
        name: float(f"{trial.suggest_float(name, low, high, log=log):.3g}") for name, (low, high, log) in FLOATS.items()
    }
    chosen |= {name: trial.suggest_int(name, low, high) for name, (low, high) in INTEGERS.items()}
    chosen["batch_size"] = trial.suggest_categorical("batch_size", BATCH_SIZES)
    width, depth = trial.suggest_categorical("width", WIDTHS), trial.suggest_categorical("depth", DEPTHS)
    return replace(base, hidden=(width,) * depth, **chosen)


def as_parameters(config: Config) -> dict[str, Any]:
    """Return a configuration as the parameters that `suggest` would make it from."""
    names = [*FLOATS, *INTEGERS, "batch_size"]
    return {name: getattr(config, name) for name in names} | {"width": config.hidden[0], "depth": len(config.hidden)}
