"""What the default network consists of, in the words of the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FAMILIES: Mapping[str, tuple[str, str]] = {
    "trees": ("boosted trees", "thresholds, and columns that matter together"),
    "linear": ("linear model", "a curve for each column, added up"),
    "bins, one hidden layer": ("networks on steps of each column, one layer", "thresholds, and few columns together"),
    "bins, two hidden layers": ("networks on steps of each column, two layers", "thresholds, and columns together"),
    "normal scores, two hidden layers": ("networks on ranks", "smooth effects, whatever the scale of a column"),
    "standard scores, two hidden layers": ("networks on scaled columns", "smooth effects of amounts"),
    "tails": ("tails", "customers with extreme values of a column; corrects the others"),
}
"""Name in the manifest: name and strength in the report."""

CORRECTION = "tails"
"""Has no loss of its own, because it is added to the others."""

STUDENT = "student"
"""Takes the place of the stack where a budget is too small for it."""

BASELINES = ("logistic regression", "share of leavers")


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table of families.

    Attributes
    ----------
    name, strength : str
    log_loss : float or None
        Alone, out of fold, in nats; None for a correction of the others.
    weight : float or None
        On the logit scale; None for a row that is no part of the network.
    """

    name: str
    strength: str
    log_loss: float | None
    weight: float | None


def list_families(details: Mapping[str, Any]) -> list[Family]:
    """Return the families by descending weight, then stack, student and baselines; nothing for other networks.

    Parameters
    ----------
    details : mapping
        `training.context.Result.details`.
    """
    losses, weights = details.get("out_of_fold"), details.get("stack")
    if not losses or weights is None:
        return []
    parts = []
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        words, strength = FAMILIES.get(name, (name, ""))
        parts.append(Family(words, strength, None if name == CORRECTION else losses.get(name), weight))
    if STUDENT in losses:
        whole = [
            Family("all together: the stack", "the teacher of the published network", losses["stack"], None),
            Family("student of the stack: the published network", "", losses[STUDENT], None),
        ]
    else:
        whole = [Family("all together: the published network", "", losses["stack"], None)]
    return [
        *parts,
        *whole,
        *(Family(name, "for comparison", losses[name], None) for name in BASELINES if name in losses),
    ]
