"""Compare the best configuration with the default on folds that the search has not used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from training.default.config import Config
    from training.tuning.search import Judge


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference in log loss between two configurations, paired by customer and seed.

    Attributes
    ----------
    mean, low, high : float
        Mean in nats with the 95 % interval over customers; below 0 the first configuration is better.
    seeds : list of int
        Seeds of the folds.
    """

    mean: float
    low: float
    high: float
    seeds: list[int]

    @property
    def is_better(self) -> bool:
        """Whether the first configuration is significantly better."""
        return self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}] nats over seeds {', '.join(map(str, self.seeds))}"


def compare(differences: NDArray[np.float64], seeds: list[int]) -> Comparison:
    """Return the mean of differences, shape (seeds, n), with a normal interval over customers."""
    own = differences.mean(axis=0)
    reach = 1.96 * own.std(ddof=1) / np.sqrt(len(own))
    return Comparison(float(own.mean()), float(own.mean() - reach), float(own.mean() + reach), seeds)


def confirm(
    judging: Callable[[int], AbstractContextManager[Judge]],
    found: Config,
    base: Config,
    customers: int,
    seeds: list[int],
    on_seed: Callable[[], object],
) -> Comparison:
    """Evaluate two configurations on folds with other seeds.

    Parameters
    ----------
    judging : callable (seed) -> context manager of a callable (Config) -> iterable of (rows, losses)
    found, base : Config
    customers : int
    seeds : list of int
    on_seed : callable
        Called after each seed.
    """
    differences = np.zeros((len(seeds), customers))
    for index, seed in enumerate(seeds):
        with judging(seed) as judge:
            for config, sign in ((base, -1), (found, 1)):
                for rows, losses in judge(config):
                    differences[index, rows] += sign * losses
        on_seed()
    return compare(differences, seeds)
