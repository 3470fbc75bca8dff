"""Progress bar of a file job: rows, rows per second, rejects, and remaining time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from churn.tables.tally import Tally


def show_progress(done: int, *, is_silent: bool = False) -> tqdm[Any]:
    """Return a progress bar that starts at `done` rows; it is silent if standard error is not a terminal."""
    return tqdm(desc="scoring", initial=done, unit="row", unit_scale=True, disable=True if is_silent else None)


def advance(bar: tqdm[Any], tally: Tally, share: float) -> None:
    """Set a progress bar to the counts of a tally.

    Parameters
    ----------
    bar : tqdm
    tally : Tally
    share : float
        Fraction of the input that is done, from 0 to 1, used to estimate the total number of rows; NaN if unknown.
    """
    if math.isfinite(share) and share > 0:
        bar.total = round(tally.rows / share)
    bar.set_postfix(rejects=tally.rejected, refresh=False)
    bar.update(tally.rows - bar.n)
