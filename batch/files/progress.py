"""The bar of a job on files: rows, rows a second, rejects, and the time left."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

if TYPE_CHECKING:
    from batch.tally import Tally


def show_progress(done: int, *, is_silent: bool = False) -> tqdm[Any]:
    """Return a bar that stands at some rows; off a terminal it is silent anyway."""
    return tqdm(desc="scoring", initial=done, unit="row", unit_scale=True, disable=True if is_silent else None)


def advance(bar: tqdm[Any], tally: Tally, share: float) -> None:
    """Move a bar to what is counted.

    Parameters
    ----------
    bar : tqdm
    tally : Tally
    share : float
        How much of the input that is, 0 to 1, from which the number of all rows is guessed; NaN if nobody knows.
    """
    if math.isfinite(share) and share > 0:
        bar.total = round(tally.rows / share)
    bar.set_postfix(rejects=tally.rejected, refresh=False)
    bar.update(tally.rows - bar.n)
