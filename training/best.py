"""Fits several configurations while there is time, and keeps what is best out of fold: `churn train --best`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from training.default.budget import STUDENT
from training.default.presets import list_better

if TYPE_CHECKING:
    from collections.abc import Callable

    from training.default.config import Config
    from training.trained import FittedModel


def fit_best(
    fit: Callable[[Config], FittedModel], config: Config, minutes: float, say: Callable[[str], None]
) -> tuple[FittedModel, Config]:
    """Fit configurations one after another; the first in any case, another only if it should end in time.

    Parameters
    ----------
    fit : callable (Config) -> Trained
        Fits one configuration.
    config : Config
        Configuration to start from.
    minutes : float
    say : callable (str) -> None
        Takes a line of progress.

    Returns
    -------
    fitted : FittedModel
        Of the configuration with the lowest log loss out of fold.
    config : Config
        That configuration.
    """
    start, longest = time.monotonic(), 0.0
    best: tuple[float, FittedModel, Config] | None = None
    candidates = list_better(config)
    for number, candidate in enumerate(candidates, 1):
        began = time.monotonic()
        if best is not None and began - start + longest > 60 * minutes:
            break
        fitted = fit(candidate)
        longest = max(longest, time.monotonic() - began)
        losses = fitted.result.details["out_of_fold"]
        loss = float(losses.get(STUDENT, losses["stack"]))
        say(f"configuration {number} of {len(candidates)}: log loss {loss:.4f} out of fold")
        if best is None or loss < best[0]:
            best = loss, fitted, candidate
    if best is None:
        raise ValueError("there is no configuration to fit")
    return best[1], best[2]
