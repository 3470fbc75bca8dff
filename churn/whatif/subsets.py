"""Search for the smallest change of a given set of fields, on a grid that is refined around its best points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from churn.whatif.steps import SLICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.whatif.axes import Axis
    from churn.whatif.steps import Steps

LISTED_LEVELS = 8
"""Up to this number of values of a field are all tried in every set of fields; of a quantity with more, a grid."""

STARTS = 4
"""Points of the grid that are refined."""

_GRID_POINTS = 513
_POINTS_PER_SIDE = {1: 16, 2: 4, 3: 2, 4: 2}
"""Points of a refinement on each side of its centre, by the number of fields."""

_ROUNDS = 16


@dataclass(frozen=True, slots=True)
class Goal:
    """What the probability of the changed customer must reach.

    Attributes
    ----------
    target : float
    is_ceiling : bool
        Whether it must be at most the target; otherwise it must be above it.
    margin : float
        By how much more.
    """

    target: float
    is_ceiling: bool
    margin: float = 0.0

    def is_reached(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which probabilities, of shape (n,), reach it."""
        if self.is_ceiling:
            return probabilities <= self.target - self.margin
        return probabilities > self.target + self.margin


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A change of a set of fields: the position of the new value of each among the values of its axis.

    Attributes
    ----------
    places : ndarray of int64, shape (fields,)
    distance : float
        Sum of the distances of the fields.
    """

    places: NDArray[np.int64]
    distance: float


class Subset:
    """A set of fields, all of which are changed.

    Parameters
    ----------
    row : ndarray of float64, shape (features,)
        The customer.
    axes : sequence of Axis
        Of the fields.
    limit : int
        Points of the first grid, at most, unless two values a field are more.
    favourites : sequence of ndarray of int64
        Of each axis that is not ordered, the places of the values to try first.
    """

    def __init__(
        self, row: NDArray[np.float64], axes: Sequence[Axis], limit: int, favourites: Sequence[NDArray[np.int64]]
    ) -> None:
        self._row = row
        self._axes = axes
        self._choices, self._spacing = _choose_grid(axes, limit, favourites)

    @property
    def is_complete(self) -> bool:
        """Whether all combinations of allowed values are points of the grid."""
        return all(len(places) == len(axis.values) for places, axis in zip(self._choices, self._axes, strict=True))

    def fill(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the changed customers, shape (n, features), for places of shape (n, fields)."""
        raw = np.repeat(self._row[None], len(places), axis=0)
        for column, axis in enumerate(self._axes):
            raw[:, axis.position] = axis.values[places[:, column]]
        return raw

    def start(self, goal: Goal) -> Steps[list[Point]]:
        """Return the points of the grid to refine, the nearest first; none if no point reaches the goal."""
        reached = yield from self._scan(self._choices, math.inf, goal)
        starts: list[Point] = []
        for point in reached:
            if all((np.abs(point.places - other.places) > self._spacing).any() for other in starts):
                starts.append(point)
            if len(starts) == STARTS:
                break
        return starts

    def refine(self, starts: Sequence[Point], goal: Goal) -> Steps[Point]:
        """Return the nearest point that is found around the given ones."""
        best = starts[0]
        for start in starts:
            found = yield from self._refine(start, goal)
            if found.distance < best.distance:
                best = found
        return best

    def _refine(self, point: Point, goal: Goal) -> Steps[Point]:
        side = _POINTS_PER_SIDE[len(self._axes)]
        radii = self._spacing
        for _ in range(_ROUNDS):
            if not radii.any():
                break
            choices = [
                np.unique(np.linspace(max(0, place - radius), min(len(axis.values) - 1, place + radius), 2 * side + 1)
                          .round().astype(np.int64))
                for place, radius, axis in zip(point.places.tolist(), radii.tolist(), self._axes, strict=True)
            ]  # fmt: skip
            reached = yield from self._scan(choices, point.distance, goal)
            point = reached[0] if reached else point
            finest = radii <= side
            # Once all neighbours have been tried in vain, nothing near is nearer.
            radii = np.where(finest, np.where(bool(reached) & (radii > 0), radii, 0), -(-radii // side))
        return point

    def _scan(self, choices: Sequence[NDArray[np.int64]], below: float, goal: Goal) -> Steps[list[Point]]:
        """Score all combinations nearer than `below`, the nearest first, and return those that reach the goal.

        The scan ends with the slice in which the first ones are found.
        """
        places = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, len(choices))
        distances = sum(
            (axis.distances[places[:, column]] for column, axis in enumerate(self._axes)), np.zeros(len(places))
        )
        order = np.argsort(distances, kind="stable")
        order = order[: np.searchsorted(distances[order], below)]
        for first in range(0, len(order), SLICE):
            part = order[first : first + SLICE]
            probabilities = yield self.fill(places[part])
            reached = part[goal.is_reached(probabilities)]
            if len(reached):
                return [Point(places[place], float(distances[place])) for place in reached]
        return []


def _choose_grid(
    axes: Sequence[Axis], limit: int, favourites: Sequence[NDArray[np.int64]]
) -> tuple[list[NDArray[np.int64]], NDArray[np.int64]]:
    """Return the places of each axis in the first grid, and the largest gap between them, shape (fields,)."""
    most = max(2, min(LISTED_LEVELS, int(limit ** (1 / len(axes)))))
    listed = [
        favourite[: most if len(axes) > 1 else None] if not axis.is_ordered or len(axis.values) <= most else None
        for axis, favourite in zip(axes, favourites, strict=True)
    ]
    combinations = math.prod(len(places) for places in listed if places is not None)
    free = sum(places is None for places in listed)
    points = min(_GRID_POINTS, max(2, int((limit / combinations) ** (1 / max(1, free)))))
    choices, gaps = [], []
    for axis, places in zip(axes, listed, strict=True):
        chosen = _spread_out(axis, points) if places is None else np.sort(places)
        choices.append(chosen)
        gaps.append(0 if places is not None else int(np.diff(chosen).max(initial=1)))
    return choices, np.array(gaps)


def _spread_out(axis: Axis, points: int) -> NDArray[np.int64]:
    """Return at most so many places of an ordered axis, evenly, with the farthest value in each direction.

    The nearest values are among them if there are two or more places for a direction; `points` is at least 2.
    """
    count, below = len(axis.values), axis.below
    lower = min(max(round(points * below / count), min(1, below)), points - min(1, count - below))
    downwards = np.linspace(0, max(0, below - 1), lower)
    upwards = np.linspace(count - 1, min(below, count - 1), points - lower)
    return np.unique(np.concatenate([downwards, upwards]).round().astype(np.int64))
