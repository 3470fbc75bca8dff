"""Fits several configurations while there is time, and keeps what is best out of fold: `churn train --best`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from training import job
from training.default.presets import list_better

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from training.dataset import Dataset
    from training.publication import Taught


def fit_best(
    dataset: Dataset,
    rows: Mapping[str, NDArray[Any]],
    options: job.Options,
    minutes: float,
    say: Callable[[str], None],
) -> tuple[Taught, job.Options]:
    """Fit configurations one after another; the first in any case, another only if it should end in time.

    Parameters
    ----------
    dataset, rows, options
        As for `training.job.teach`.
    minutes : float
    say : callable (str) -> None
        Takes a line of progress.

    Returns
    -------
    taught : Taught
        Of the configuration with the lowest log loss out of fold.
    options : Options
        With that configuration.
    """
    start, longest = time.monotonic(), 0.0
    best: tuple[float, Taught, job.Options] | None = None
    candidates = list_better(options.config)
    for number, config in enumerate(candidates, 1):
        began = time.monotonic()
        if best is not None and began - start + longest > 60 * minutes:
            break
        chosen = replace(options, config=config)
        taught = job.teach(dataset, rows, chosen)
        longest = max(longest, time.monotonic() - began)
        loss = float(taught.result.details["out_of_fold"]["stack"])
        say(f"configuration {number} of {len(candidates)}: log loss {loss:.4f} out of fold")
        if best is None or loss < best[0]:
            best = loss, taught, chosen
    if best is None:
        raise ValueError("there is no configuration to fit")
    return best[1], best[2]
