"""Three points on the curve of quality against time: `--quick`, the default, `--best`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.default.config import Config

SHIPPED_BUDGET = 60.0
"""Microseconds a row alone that the configuration's `tree_comparisons` and `multiplications` stand for."""


def make_quick(config: Config) -> Config:
    """Return a configuration that takes seconds: trees of one depth and the linear model, in three folds."""
    return replace(config, folds=3, tree_depths=(5,), importance_steps=(), networks=0)


def list_better(config: Config) -> list[Config]:
    """Return configurations to try, most promising first; the first is the given one."""
    ten = replace(config, folds=10)
    return [
        config,
        ten,
        replace(ten, tree_depths=(4, 6, 7, 9), epochs=2 * config.epochs, learning_rate=config.learning_rate / 2),
        replace(ten, hidden=tuple(2 * units for units in config.hidden), dropout=0.3),
        replace(ten, bins=2 * config.bins, weight_decay=3 * config.weight_decay),
        replace(ten, noise=3 * config.noise, batch_size=2 * config.batch_size),
    ]


def limit_time(config: Config, microseconds: float) -> Config:
    """Return a configuration whose network takes about so many microseconds a row alone on one core, at most.

    The stack may cost more where the time is more than `SHIPPED_BUDGET`; where it is less, a student replaces it.
    """
    return _scale(replace(config, budget=float(microseconds)), max(1.0, microseconds / SHIPPED_BUDGET))


def thin_stack(config: Config) -> Config:
    """Return a configuration whose stack itself is about within the budget."""
    return _scale(config, min(1.0, config.budget / SHIPPED_BUDGET)) if config.budget else config


def _scale(config: Config, share: float) -> Config:
    return replace(
        config,
        tree_comparisons=max(1, round(share * config.tree_comparisons)),
        multiplications=max(1, round(share * config.multiplications)),
    )
