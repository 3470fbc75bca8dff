"""What the methods of explanation need of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


class Cube(NamedTuple):
    """Background customers who differ from a customer in the same number k of features.

    Attributes
    ----------
    rows : ndarray of int64, shape (p,)
    features : ndarray of int64, shape (k, p)
        Positions among the heard features, ascending for each customer.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.int64]


class Values(NamedTuple):
    """Shapley values of a customer.

    Attributes
    ----------
    probability : float
        Of the customer.
    values : ndarray of float64, shape (d,)
        Of the heard features.
    errors : ndarray of float64, shape (d,), or None
        Standard errors; None if the values are exact.
    evaluations : int
        Mixtures that were scored, with the customer.
    """

    probability: float
    values: NDArray[np.float64]
    errors: NDArray[np.float64] | None = None
    evaluations: int = 1


class Network(Protocol):
    """A network with a fixed background.

    Attributes
    ----------
    features : ndarray of int64, shape (d,)
        Columns of the raw matrix that the network hears, ascending.
    entry_feature : ndarray of int64, shape (entries,)
        Position among `features` of each entry that `read` returns, ascending.
    together : int
        Number of mixtures that are best scored together.
    """

    features: NDArray[np.int64]
    entry_feature: NDArray[np.int64]
    together: int

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network hears, shape (n, entries), of its input, shape (n, width)."""
        ...

    def fix(self, background: NDArray[np.float32]) -> None:
        """Set the background, shape (m, entries)."""
        ...

    def run(self, customer: NDArray[np.float32]) -> float:
        """Return the probability of a customer, shape (entries,)."""
        ...

    def meet(self, customer: NDArray[np.float32]) -> Mixer:
        """Return what scores the mixtures of a customer, shape (entries,), and the background."""
        ...


class Mixer(Protocol):
    """Scores mixtures of a customer and background customers."""

    def run_cubes(self, cubes: Sequence[Cube]) -> list[NDArray[np.float64]]:
        """Return the probabilities of all mixtures of each cube.

        Parameters
        ----------
        cubes : sequence of Cube
            At least one, of one or more features.

        Returns
        -------
        list of ndarray of float64, shape (2^k, p)
            Of the subsets 0 to 2^k - 1 of the k features of a cube: feature ``features[j]`` is the background's if bit
            j is set.
        """
        ...

    def run_paths(self, orders: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probabilities while the features of background customers change to those of the customer.

        Parameters
        ----------
        orders : ndarray of int64, shape (p, steps)
            Heard features, as positions, in the order in which they change.
        rows : ndarray of int64, shape (p,)
            Background customers.

        Returns
        -------
        ndarray of float64, shape (p, steps)
            After each step.
        """
        ...


def split_scores(scores: NDArray[np.float64], cubes: Sequence[Cube]) -> list[NDArray[np.float64]]:
    """Return the scores of each cube, shape (2^k, p), of those of all, shape (n,)."""
    parts, first = [], 0
    for cube in cubes:
        count, customers = cube.features.shape
        end = first + (customers << count)
        parts.append(scores[first:end].reshape(1 << count, customers))
        first = end
    return parts
