"""Find the smallest changes of a customer that bring the probability to a target.

Wachter, Mittelstadt and Russell (2018), "Counterfactual Explanations without Opening the Black Box", ask for the
nearest customer with another decision, with distances scaled by the spread of each column; Ustun, Spangher and Liu
(2019), "Actionable Recourse in Linear Classification", for changes that somebody can make; Mothilal, Sharma and Tan
(2020), "Explaining Machine Learning Classifiers through Diverse Counterfactual Explanations", for several different and
sparse ones. Here, fewer changed fields come first, then the distance, and no answer contains the fields of another one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.whatif.axes import make_axes
from churn.whatif.subsets import LISTED_LEVELS, Goal, Subset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from churn.schema import Schema
    from churn.whatif.axes import Axis
    from churn.whatif.steps import Steps
    from churn.whatif.subsets import Point

MAX_FOUND = 3
"""Counterfactuals returned at most."""

MAX_CHANGES = 4
"""Fields changed together at most."""

GRID_EVALUATIONS = {1: 40_000, 2: 80_000, 3: 60_000, 4: 60_000}
"""Points of the first grids of all sets of fields together, by the number of fields; `_MAX_GRID` limits each."""

MAX_AXES = {2: 20, 3: 10, 4: 7}
"""Fields that are combined, by the number of fields in a set: those that reach farthest alone, if there are more."""

_MAX_GRID = 4096

_REFINED = 2 * MAX_FOUND
"""Sets of fields of the same size whose nearest points are refined."""

_SAFE_MARGIN = 2e-6
"""Probabilities of a customer alone and in a batch differ by less, as they are rounded to six decimals."""


@dataclass(frozen=True, slots=True)
class Change:
    """A changed field.

    Attributes
    ----------
    position : int
        Of the feature in the schema.
    value : float
        The proposed value, as in the raw matrix.
    distance : float
    """

    position: int
    value: float
    distance: float


@dataclass(frozen=True, slots=True)
class Counterfactual:
    """Changes of a customer that reach the goal together.

    Attributes
    ----------
    changes : tuple of Change
        In the order of the schema.
    distance : float
        Sum of the distances.
    probability : float
        Of the changed customer, scored alone.
    """

    changes: tuple[Change, ...]
    distance: float
    probability: float


@dataclass(frozen=True, slots=True)
class Proposals:
    """The answer for one customer.

    Attributes
    ----------
    probability : float
        Of the customer.
    goal : Goal
    found : tuple of Counterfactual
        At most `MAX_FOUND`, the smallest first.
    is_complete : bool
        Whether all allowed values of all sets of up to `MAX_CHANGES` fields were tried, except for sets that contain an
        answer's: then nothing smaller exists than what was found.
    reason : str
        Why nothing was found, as a sentence; empty if something was.
    """

    probability: float
    goal: Goal
    found: tuple[Counterfactual, ...]
    is_complete: bool = True
    reason: str = ""


def propose(schema: Schema, histograms: Mapping[str, Any], row: NDArray[np.float64], target: float) -> Steps[Proposals]:
    """Search for the smallest changes that bring a customer's probability to the other side of a target.

    If the probability is above the target, it must become at most the target; otherwise it must become greater than
    the target. This is the rule by which customers are predicted to leave.

    Parameters
    ----------
    schema : Schema
        Its marks say what may be changed.
    histograms : mapping
        Histograms of the training data by feature, as in the manifest.
    row : ndarray of float64, shape (features,)
        A validated row of the raw matrix.
    target : float
        At least 0 and below 1.

    Returns
    -------
    Steps
        Ask for scores and return the proposals; the same ones whenever they are sent the same scores.
    """
    (probability,) = (yield row[None]).tolist()
    goal = Goal(target, is_ceiling=probability > target)
    if not any(feature.actionable for feature in schema.features):
        return Proposals(probability, goal, (), reason="the schema of the model marks no field as actionable")
    axes, fixed = make_axes(schema, histograms, row)
    found, is_complete = (yield from _search(row, axes, goal)) if axes else ((), True)
    reason = "" if found else _explain(schema, axes, fixed, goal, is_complete=is_complete)
    return Proposals(probability, goal, found, is_complete, reason)


def _explain(schema: Schema, axes: Sequence[Axis], fixed: Mapping[str, str], goal: Goal, *, is_complete: bool) -> str:
    kept = "; ".join(f"{name} {reason}" for name, reason in fixed.items())
    if not axes:
        return f"no actionable field of this customer can be changed: {kept}"
    names = ", ".join(schema.features[axis.position].name for axis in axes)
    side = f"to {goal.target:g} or below" if goal.is_ceiling else f"above {goal.target:g}"
    together = f", alone or up to {min(MAX_CHANGES, len(axes))} together," if len(axes) > 1 else ""
    verb = "brings" if is_complete else "was found that brings"
    return f"no change of {names}{together} {verb} the probability {side}{'; ' * bool(kept)}{kept}"


def _search(
    row: NDArray[np.float64], axes: Sequence[Axis], goal: Goal
) -> Steps[tuple[tuple[Counterfactual, ...], bool]]:
    """Return the counterfactuals, the smallest first, and whether the search was complete."""
    is_complete = True
    reaches: list[float] = []
    favourites: list[NDArray[np.int64]] = []
    found: list[tuple[tuple[int, ...], Counterfactual]] = []
    sufficient: list[frozenset[int]] = []
    for size in range(1, min(MAX_CHANGES, len(axes)) + 1):
        if size == 2:
            reaches, favourites = yield from _try_alone(row, axes, goal)
        combined = list(range(len(axes)))
        if size > 1:
            combined = sorted(np.argsort(reaches, kind="stable")[: MAX_AXES[size]].tolist())
        is_complete &= len(combined) == len(axes)
        sets = [
            chosen for chosen in combinations(combined, size) if not any(enough <= {*chosen} for enough in sufficient)
        ]
        limit = min(_MAX_GRID, GRID_EVALUATIONS[size] // max(1, len(sets)))
        candidates: list[tuple[float, tuple[int, ...], Subset, list[Point]]] = []
        for chosen in sets:
            mine = [axes[i] for i in chosen]
            levels = [favourites[i] if favourites else np.arange(len(axes[i].values)) for i in chosen]
            subset = Subset(row, mine, limit, levels)
            is_complete &= subset.is_complete
            if starts := (yield from subset.start(goal)):
                candidates.append((starts[0].distance, chosen, subset, starts))
        candidates.sort(key=lambda candidate: candidate[:2])
        sufficient += [frozenset(chosen) for _, chosen, _, _ in candidates]
        level: list[tuple[tuple[int, ...], Counterfactual]] = []
        for _, chosen, subset, starts in candidates[:_REFINED]:
            if (one := (yield from _settle([axes[i] for i in chosen], subset, starts, goal))) is not None:
                level.append((chosen, one))
        found += sorted(level, key=lambda entry: (entry[1].distance, entry[0]))
        if len(found) >= MAX_FOUND:
            break
    return tuple(one for _, one in found[:MAX_FOUND]), is_complete


def _try_alone(
    row: NDArray[np.float64], axes: Sequence[Axis], goal: Goal
) -> Steps[tuple[list[float], list[NDArray[np.int64]]]]:
    """Return how far each field reaches alone, less being farther, and its values from the farthest reaching on.

    Of a quantity with many values, a few are tried, and the order of the others is that of the values.
    """
    reaches, favourites = [], []
    for axis in axes:
        count = len(axis.values)
        places = np.arange(count)
        if axis.is_ordered and count > LISTED_LEVELS:
            places = np.unique(np.linspace(0, count - 1, 33).round().astype(np.int64))
        raw = np.repeat(row[None], len(places), axis=0)
        raw[:, axis.position] = axis.values[places]
        probabilities = yield raw
        scores = probabilities if goal.is_ceiling else -probabilities
        reaches.append(float(scores.min()))
        favourites.append(places[np.argsort(scores, kind="stable")])
    return reaches, favourites


def _settle(axes: Sequence[Axis], subset: Subset, starts: Sequence[Point], goal: Goal) -> Steps[Counterfactual | None]:
    """Refine the points of a set of fields, and score the best one as a customer alone.

    A point at the very border of the goal may miss it alone; then the goal has a margin. None if even that fails.
    """
    for margin in (0.0, _SAFE_MARGIN):
        stricter = replace(goal, margin=margin)
        if margin and not (starts := (yield from subset.start(stricter))):
            return None
        best = yield from subset.refine(starts, stricter)
        alone = yield subset.fill(best.places[None])
        if goal.is_reached(alone).all():
            changes = tuple(
                Change(axis.position, float(axis.values[place]), float(axis.distances[place]))
                for axis, place in zip(axes, best.places.tolist(), strict=True)
            )
            return Counterfactual(changes, best.distance, float(alone[0]))
    return None
