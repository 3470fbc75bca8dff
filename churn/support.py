"""What a version knows of its training customers, and the space in which customers are compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDINARY, SPIKE, MISSING = 0.0, 1.0, 2.0
"""States of a quantity."""

DISTANCE_DECIMALS = 5

ABSENT = -1.0
"""Code of a missing category or flag."""


@dataclass(frozen=True, slots=True)
class Axis:
    """How customers are compared in one feature.

    Attributes
    ----------
    source : int
        Raw column.
    center, scale : float
        Of a quantity, which is compared by its standard score; the scale is 0 for other features, which are equal or
        not.
    spike : float or None
        A value that so many customers share that it is compared as a state of its own.
    """

    source: int
    center: float = 0.0
    scale: float = 0.0
    spike: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of the manifest."""
        if not self.scale:
            return {"source": self.source}
        return {"source": self.source, "center": self.center, "scale": self.scale, "spike": self.spike}


class Space:
    """Coordinates in which customers are compared.

    The squared distance of two customers is the sum of the squared differences of their standard scores, and of 1 for
    each category, flag or state that differs.

    Parameters
    ----------
    axes : tuple of Axis
        Of ascending columns.

    Attributes
    ----------
    axes : tuple of Axis
    score_sources : ndarray of int64, shape (quantities,)
        Raw column of each standard score.
    code_sources : ndarray of int64, shape (codes,)
        Raw column of each code: of categories and flags, then the states of the quantities.
    """

    def __init__(self, axes: tuple[Axis, ...]) -> None:
        self.axes = axes
        scored, coded = [axis for axis in axes if axis.scale], [axis for axis in axes if not axis.scale]
        self.score_sources = np.array([axis.source for axis in scored], np.int64)
        self._coded = np.array([axis.source for axis in coded], np.int64)
        self.code_sources = np.concatenate([self._coded, self.score_sources])
        self._center = np.array([axis.center for axis in scored])
        self._scale = np.array([axis.scale for axis in scored])
        sources = [axis.source for axis in axes]
        self._scored_axes = np.searchsorted(sources, self.score_sources)
        self._coded_axes = np.searchsorted(sources, self._coded)
        self._spike = np.array([np.nan if axis.spike is None else axis.spike for axis in scored])

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return len(self.score_sources) + len(self.code_sources)

    def place(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the coordinates of customers, the standard scores first.

        Parameters
        ----------
        raw : ndarray of float64, shape (n, features)

        Returns
        -------
        ndarray of float32, shape (n, `width`)
        """
        values = raw[:, self.score_sources]
        states = np.where(np.isnan(values), MISSING, np.where(values == self._spike, SPIKE, ORDINARY))
        scores = np.where(states == ORDINARY, (values - self._center) / self._scale, 0.0)
        codes = raw[:, self._coded]
        placed = np.hstack([scores, np.where(np.isnan(codes), ABSENT, codes), states])
        return np.ascontiguousarray(placed, np.float32)

    def measure(self, reference: NDArray[np.float32], customer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each axis adds to the squared distances of one customer from others.

        Parameters
        ----------
        reference : ndarray of float32, shape (m, width)
        customer : ndarray of float32, shape (width,)

        Returns
        -------
        ndarray of float32, shape (axes, m)
        """
        count = len(self.score_sources)
        parts = np.empty((len(self.axes), len(reference)), np.float32)
        differ = (reference[:, count:] != customer[count:]).T
        parts[self._coded_axes] = differ[: len(self._coded)]
        parts[self._scored_axes] = np.square(reference[:, :count] - customer[:count]).T + differ[len(self._coded) :]
        return parts

    def find_distance(
        self, reference: NDArray[np.float32], customer: NDArray[np.float32], count: int
    ) -> tuple[float, NDArray[np.float32]]:
        """Return the distance of one customer from the nearest one of a number, and how much of it each axis makes.

        Parameters
        ----------
        reference : ndarray of float32, shape (m, width)
        customer : ndarray of float32, shape (width,)
        count : int
            That number, from 1 to m.

        Returns
        -------
        distance : float
        drops : ndarray of float32, shape (axes,)
            By how much the squared distance from the nearest one of the same number is smaller without the axis.
        """
        parts = self.measure(reference, customer)
        squares = parts.sum(axis=0)
        candidates = np.vstack([squares, squares - parts])
        candidates.partition(count - 1, axis=1)
        nearest = candidates[:, count - 1]
        return round(float(np.sqrt(nearest[0])), DISTANCE_DECIMALS), nearest[0] - nearest[1:]


@dataclass(frozen=True, slots=True)
class Members:
    """The networks that were not fitted on all customers, and what their differences mean.

    Attributes
    ----------
    network : bytes
        The ONNX file, with an output for each of them.
    factor : float
        Half the width of the range of the probability, on the logit scale, in standard deviations of the members.
    variance : float
        Mean over customers of the variance of the members' logits.
    """

    network: bytes
    factor: float
    variance: float


@dataclass(frozen=True, slots=True)
class SupportData:
    """What a version knows of its training customers.

    Attributes
    ----------
    space : Space
    reference : ndarray of float32, shape (m, space.width)
        Coordinates of training customers.
    neighbours : int
        The distance from the nearest customer of this number is compared.
    distances : ndarray of float64, shape (c,)
        That distance for training customers who are not in the reference, ascending.
    usual : ndarray of float64, shape (axes,)
        For them, mean of what each axis makes of the squared distance.
    members : Members or None
        None if the version is of one network.
    """

    space: Space
    reference: NDArray[np.float32]
    neighbours: int
    distances: NDArray[np.float64]
    usual: NDArray[np.float64]
    members: Members | None = None
