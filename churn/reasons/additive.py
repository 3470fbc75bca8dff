"""Networks whose features first meet in a linear layer.

The output of that layer is a sum of one vector for each feature, so a mixture follows from another one by adding the
difference of two vectors; only the rest of the network is run for each mixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.engines import BLOCK_ROWS
from churn.reasons.protocol import split_scores
from churn.reasons.room import Room
from churn.reasons.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from churn.reasons.onnx_file import OnnxFile
    from churn.reasons.protocol import Cube, Mixer
    from churn.reasons.structure import MixingLayer


class AdditiveNetwork:
    """Runs the network behind its mixing layer on sums of vectors; see `Network`.

    Parameters
    ----------
    file : OnnxFile
    layer : MixingLayer
    width : int
        Number of inputs of the network.
    """

    def __init__(self, file: OnnxFile, layer: MixingLayer, width: int) -> None:
        self._head = Session(file.cut(file.input, width, layer.entry))
        self._tail = Session(file.cut_scores(layer.exit, layer.weights.shape[1]))
        hears = np.flatnonzero(layer.part_feature >= 0)
        self._entries = hears[np.argsort(layer.part_feature[hears], kind="stable")]
        self.features, self.entry_feature = np.unique(layer.part_feature[self._entries], return_inverse=True)
        # Weights of each entry, apart for each feature: a customer's vectors are one product.
        self._weights = layer.weights[self._entries]
        self._of_feature = (self.entry_feature == np.arange(len(self.features))[:, None]).astype(np.float64)
        constant = layer.weights.copy()
        constant[self._entries] = 0
        self._start = self._head.run(np.zeros((1, width), np.float32))[0].astype(np.float64) @ constant + layer.bias
        self._room = Room(len(self._start))
        self.together = self._room.rows

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102  the protocol's
        # One by one, so that a customer alone and in a batch are equal in all bits.
        return np.concatenate([self._head.run(matrix[row : row + 1]) for row in range(len(matrix))])[:, self._entries]

    def _vectors(self, customer: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the vector of each feature, shape (d, units)."""
        vectors: NDArray[np.float64] = (customer * self._of_feature) @ self._weights
        return vectors

    def fix(self, background: NDArray[np.float32]) -> None:  # noqa: D102  the protocol's
        # Less the mean, so that float32 rounds what differs and not what all have in common.
        self._mean = background.mean(axis=0, dtype=np.float64)
        self._mean_start = self._start + self._vectors(self._mean).sum(axis=0)
        self._background = np.stack([self._vectors(row - self._mean) for row in background])
        self._narrow = self._background.astype(np.float32)

    def run(self, customer: NDArray[np.float32]) -> float:  # noqa: D102  the protocol's
        hidden = self._start + self._vectors(customer).sum(axis=0)
        return float(self._tail.run(hidden[None].astype(np.float32)).item())

    def meet(self, customer: NDArray[np.float32]) -> Mixer:  # noqa: D102  the protocol's
        vectors = self._vectors(customer - self._mean)
        changes = self._narrow - vectors.astype(np.float32)
        return _AdditiveMixer(
            self._tail, self._room, self._mean_start + vectors.sum(axis=0), vectors, self._background, changes
        )


class _AdditiveMixer:
    """See `Mixer`.

    Parameters
    ----------
    tail : Session
        The network behind the mixing layer.
    room : Room
        For its input.
    start : ndarray of float64, shape (units,)
        Output of the mixing layer for the customer.
    vectors : ndarray of float64, shape (d, units)
        Of the customer, less those of the mean of the background.
    background : ndarray of float64, shape (m, d, units)
        The same of the background customers.
    changes : ndarray of float32, shape (m, d, units)
        `background` less `vectors`.
    """

    def __init__(
        self,
        tail: Session,
        room: Room,
        start: NDArray[np.float64],
        vectors: NDArray[np.float64],
        background: NDArray[np.float64],
        changes: NDArray[np.float32],
    ) -> None:
        self._tail, self._start, self._vectors, self._background = tail, start, vectors, background
        self._features = changes.shape[1]
        self._changes, self._room = changes.reshape(-1, len(start)), room
        self._units = len(start)

    def run_cubes(self, cubes: Sequence[Cube]) -> list[NDArray[np.float64]]:
        # One run for all of them, since each has a cost of its own.
        with self._room.take(sum(len(cube.rows) << len(cube.features) for cube in cubes)) as hidden:
            first = 0
            for cube in cubes:
                count, customers = cube.features.shape
                end = first + (customers << count)
                self._fill(hidden[first:end].reshape(1 << count, customers, -1), cube)
                first = end
            scores = self._tail.run(hidden).reshape(-1).astype(np.float64)
        return split_scores(scores, cubes)

    def _fill(self, mixed: NDArray[np.float32], cube: Cube) -> None:
        """Write the output of the mixing layer for all mixtures of a cube, shape (2^k, p, units)."""
        # Subset by subset, so that customers are neighbours in memory, which is twice as fast.
        mixed[0] = self._start
        for bit, change in enumerate(self._changes.take(cube.rows * self._features + cube.features, axis=0)):
            size = 1 << bit
            np.add(mixed[:size], change, out=mixed[size : 2 * size])

    def run_paths(self, orders: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        steps = orders.shape[1]
        changes = self._background - self._vectors
        starts = self._start + changes.sum(axis=1)
        found = np.empty(orders.shape)
        together = max(1, BLOCK_ROWS // steps)
        for first in range(0, len(orders), together):
            row, order = rows[first : first + together], orders[first : first + together]
            hidden = -changes[row[:, None], order]
            hidden[:, 0] += starts[row]
            summed = np.cumsum(hidden, axis=1).astype(np.float32)
            found[first : first + together] = self._tail.run(summed.reshape(-1, self._units)).reshape(-1, steps)
        return found
