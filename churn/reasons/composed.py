"""Networks of any form, which are run on composed inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.engines import BLOCK_ROWS, split_into_blocks
from churn.reasons.protocol import split_scores
from churn.reasons.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.reasons.protocol import Cube, Mixer


class ComposedNetwork:
    """Runs a network on composed inputs; see `Network`.

    Parameters
    ----------
    data : bytes
        The ONNX file, of float32.
    heard : ndarray of bool, shape (width,)
        Inputs that the network hears.
    sources : ndarray of int64, shape (width,)
        Raw column of each input.
    """

    def __init__(self, data: bytes, heard: NDArray[np.bool_], sources: NDArray[np.int64]) -> None:
        self._session = Session(data)
        inputs = np.flatnonzero(heard)
        self._inputs = inputs[np.argsort(sources[inputs], kind="stable")]
        self.features, self.entry_feature = np.unique(sources[self._inputs], return_inverse=True)
        self._width = len(heard)
        self.together = 2 * BLOCK_ROWS

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102  the protocol's
        return matrix[:, self._inputs]

    def fix(self, background: NDArray[np.float32]) -> None:  # noqa: D102  the protocol's
        self._background = background

    def run(self, customer: NDArray[np.float32]) -> float:  # noqa: D102  the protocol's
        return float(self.score(customer[None])[0])

    def meet(self, customer: NDArray[np.float32]) -> Mixer:  # noqa: D102  the protocol's
        return _ComposedMixer(self, customer, self._background)

    def score(self, entries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities, shape (n,), of what the network hears, shape (n, entries)."""
        matrix = np.zeros((len(entries), self._width), np.float32)
        matrix[:, self._inputs] = entries
        return np.concatenate([self._session.run(block)[:, 0] for block in split_into_blocks(matrix)])


class _ComposedMixer:
    """See `Mixer`.

    Parameters
    ----------
    network : ComposedNetwork
    customer : ndarray of float32, shape (entries,)
    background : ndarray of float32, shape (m, entries)
    """

    def __init__(
        self, network: ComposedNetwork, customer: NDArray[np.float32], background: NDArray[np.float32]
    ) -> None:
        self._network, self._customer, self._background = network, customer, background
        self._owner = network.entry_feature

    def run_cubes(self, cubes: Sequence[Cube]) -> list[NDArray[np.float64]]:
        scores = self._network.score(np.concatenate([self._mix(cube) for cube in cubes]))
        return split_scores(scores.astype(np.float64), cubes)

    def _mix(self, cube: Cube) -> NDArray[np.float32]:
        """Return what the network hears of all mixtures, shape (2^k p, entries)."""
        others = self._background[cube.rows]
        mixed = np.empty((1 << len(cube.features), *others.shape), np.float32)
        mixed[0] = self._customer
        for bit, feature in enumerate(cube.features):
            size = 1 << bit
            mixed[size : 2 * size] = mixed[:size]
            np.copyto(mixed[size : 2 * size], others, where=self._owner == feature[:, None])
        return mixed.reshape(-1, others.shape[1])

    def run_paths(self, orders: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        steps = orders.shape[1]
        found = np.empty(orders.shape)
        together = max(1, BLOCK_ROWS // steps)
        for first in range(0, len(orders), together):
            row, order = rows[first : first + together], orders[first : first + together]
            ranks = np.full((len(order), len(self._network.features)), steps)
            np.put_along_axis(ranks, order, np.arange(steps)[None], axis=1)
            changed = ranks[:, None, self._owner] <= np.arange(steps)[:, None]
            mixed = np.where(changed, self._customer, self._background[row][:, None])
            found[first : first + together] = self._network.score(mixed.reshape(-1, mixed.shape[2])).reshape(-1, steps)
        return found
