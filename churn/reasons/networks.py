"""Networks that score mixtures: some features of a customer, the others of a background customer.

`AdditiveNetwork` is for networks whose features first meet in a linear layer. The output of that layer is a sum of one
vector for each feature, so the vectors of the background are added up once, those of a customer once, and a mixture is
the sum of two rows; only the rest of the network is run for each mixture. `ComposedNetwork` runs any network on
composed inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn.engines import BLOCK_ROWS, open_session
from churn.reasons.onnx_file import OnnxFile
from churn.reasons.structure import find_heard, find_mixing_layer, follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.structure import MixingLayer

TABLE_BYTES = 8 * 2**20
"""Size of the table of sums of background vectors."""

AGREEMENT = 1e-6
"""Maximum absolute difference of a probability from the whole network; otherwise inputs are composed."""


class Network(Protocol):
    """A network with a fixed background.

    Attributes
    ----------
    features : ndarray of int64, shape (d,)
        Columns of the raw matrix that the network hears, ascending.
    entry_feature : ndarray of int64, shape (entries,)
        Position among `features` of each entry that `read` returns, ascending.
    """

    features: NDArray[np.int64]
    entry_feature: NDArray[np.int64]

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the network hears, shape (n, entries), of its input, shape (n, width)."""
        ...

    def fix(self, background: NDArray[np.float32], subsets: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
        """Set the background and the mixtures.

        Parameters
        ----------
        background : ndarray of float32, shape (m, entries)
        subsets, rows : ndarray of int64, shape (r,)
            Mixture k has the features in the bits of ``subsets[k]`` from background customer ``rows[k]``.
        """
        ...

    def run(self, customer: NDArray[np.float32], mixtures: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the probabilities, shape (k,), of mixtures with a customer, shape (entries,)."""
        ...

    def run_paths(
        self, customer: NDArray[np.float32], orders: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the probabilities while the features of background customers change to those of the customer.

        Parameters
        ----------
        customer : ndarray of float32, shape (entries,)
        orders : ndarray of int64, shape (p, steps)
            Features, as positions among `features`, in the order in which they change.
        rows : ndarray of int64, shape (p,)
            Background customers.

        Returns
        -------
        ndarray of float64, shape (p, steps)
            After each step.
        """
        ...


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
        self._head = _Session(file.cut(file.input, width, layer.entry))
        self._tail = _Session(file.cut(layer.exit, layer.weights.shape[1], file.output))
        hears = np.flatnonzero(layer.part_feature >= 0)
        self._entries = hears[np.argsort(layer.part_feature[hears], kind="stable")]
        self.features, self.entry_feature = np.unique(layer.part_feature[self._entries], return_inverse=True)
        # Weights of each entry, apart for each feature: a customer's vectors are one product.
        self._weights = layer.weights[self._entries]
        self._of_feature = (self.entry_feature == np.arange(len(self.features))[:, None]).astype(np.float64)
        constant = layer.weights.copy()
        constant[self._entries] = 0
        self._start = self._head.run(np.zeros((1, width), np.float32))[0].astype(np.float64) @ constant + layer.bias
        self._units = len(self._start)

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102  the protocol's
        # One by one, so that a customer alone and in a batch are equal in all bits.
        return np.concatenate([self._head.run(matrix[row : row + 1]) for row in range(len(matrix))])[:, self._entries]

    def _vectors(self, customer: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the vector of each feature, shape (d, units)."""
        vectors: NDArray[np.float64] = (customer * self._of_feature) @ self._weights
        return vectors

    def fix(  # noqa: D102  the protocol's
        self, background: NDArray[np.float32], subsets: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        vectors = np.stack([self._vectors(row) for row in background])
        self._background = vectors
        room = TABLE_BYTES // (4 * vectors[:, 0].size) if vectors.size else 1
        low = min(len(self.features), max(1, room).bit_length() - 1)
        self._low = _add_up(vectors[:, :low])
        self._high = None if low == len(self.features) else _add_up(vectors[:, low:])
        self._subsets = subsets
        self._low_places = (subsets & ((1 << low) - 1)) * len(background) + rows
        self._high_places = (subsets >> low) * len(background) + rows

    def run(  # noqa: D102  the protocol's
        self, customer: NDArray[np.float32], mixtures: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        sums = self._start[None]
        for vector in self._vectors(customer):
            # Of a subset of the background's features: its bit is set if the customer's is not taken.
            sums = np.concatenate([sums + vector, sums])
        table = sums.astype(np.float32)
        found = np.empty(len(mixtures))
        size = min(len(mixtures), BLOCK_ROWS)
        hidden, added = np.empty((2, size, self._units), np.float32)
        for start in range(0, len(mixtures), BLOCK_ROWS):
            block = mixtures[start : start + BLOCK_ROWS]
            into, other = hidden[: len(block)], added[: len(block)]
            np.take(self._low, self._low_places[block], axis=0, out=into, mode="clip")
            np.take(table, self._subsets[block], axis=0, out=other, mode="clip")
            into += other
            if self._high is not None:
                into += np.take(self._high, self._high_places[block], axis=0, out=other, mode="clip")
            found[start : start + BLOCK_ROWS] = self._tail.run(into)[:, 0]
        return found

    def run_paths(  # noqa: D102  the protocol's
        self, customer: NDArray[np.float32], orders: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        steps = orders.shape[1]
        changes = self._vectors(customer) - self._background
        starts = self._start + self._background.sum(axis=1)
        found = np.empty(orders.shape)
        together = max(1, BLOCK_ROWS // steps)
        for start in range(0, len(orders), together):
            block = slice(start, start + together)
            hidden = changes[rows[block, None], orders[block]]
            hidden[:, 0] += starts[rows[block]]
            summed = np.cumsum(hidden, axis=1).astype(np.float32)
            found[block] = self._tail.run(summed.reshape(-1, self._units)).reshape(-1, steps)
        return found


class ComposedNetwork:
    """Runs a network on composed inputs; see `Network`.

    Parameters
    ----------
    data : bytes
        The ONNX file.
    heard : ndarray of bool, shape (width,)
        Inputs that the network hears.
    sources : ndarray of int64, shape (width,)
        Raw column of each input.
    """

    def __init__(self, data: bytes, heard: NDArray[np.bool_], sources: NDArray[np.int64]) -> None:
        self._session = _Session(data)
        inputs = np.flatnonzero(heard)
        self._inputs = inputs[np.argsort(sources[inputs], kind="stable")]
        self.features, self.entry_feature = np.unique(sources[self._inputs], return_inverse=True)
        self._width = len(heard)

    def read(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:  # noqa: D102  the protocol's
        return matrix[:, self._inputs]

    def fix(  # noqa: D102  the protocol's
        self, background: NDArray[np.float32], subsets: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> None:
        self._background = background
        self._subsets, self._rows = subsets, rows

    def run(  # noqa: D102  the protocol's
        self, customer: NDArray[np.float32], mixtures: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        found = np.empty(len(mixtures))
        for start in range(0, len(mixtures), BLOCK_ROWS):
            block = mixtures[start : start + BLOCK_ROWS]
            others = (self._subsets[block, None] >> self.entry_feature & 1).astype(bool)
            found[start : start + BLOCK_ROWS] = self._score(
                np.where(others, self._background[self._rows[block]], customer)
            )
        return found

    def run_paths(  # noqa: D102  the protocol's
        self, customer: NDArray[np.float32], orders: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        steps = orders.shape[1]
        found = np.empty(orders.shape)
        together = max(1, BLOCK_ROWS // steps)
        for start in range(0, len(orders), together):
            order, row = orders[start : start + together], rows[start : start + together]
            ranks = np.full((len(order), len(self.features)), steps)
            np.put_along_axis(ranks, order, np.arange(steps)[None], axis=1)
            changed = ranks[:, None, self.entry_feature] <= np.arange(steps)[:, None]
            mixed = np.where(changed, customer, self._background[row][:, None])
            found[start : start + together] = self._score(mixed.reshape(-1, mixed.shape[2])).reshape(-1, steps)
        return found

    def _score(self, entries: NDArray[np.float32]) -> NDArray[np.float32]:
        matrix = np.zeros((len(entries), self._width), np.float32)
        matrix[:, self._inputs] = entries
        return self._session.run(matrix)[:, 0]


def open_network(data: bytes, sources: NDArray[np.int64], probes: NDArray[np.float32]) -> Network:
    """Return the fastest form in which a network can be run.

    Parameters
    ----------
    data : bytes
        The ONNX file.
    sources : ndarray of int64, shape (width,)
        Raw column of each input.
    probes : ndarray of float32, shape (n, width)
        Inputs on which the form is compared with the whole network.

    Raises
    ------
    EngineError
        If the file can't be read.
    """
    file = OnnxFile(data)
    found = follow(file, len(sources))
    layer = find_mixing_layer(file, found, sources)
    if layer is not None:
        network = AdditiveNetwork(file, layer, len(sources))
        all_own = np.zeros(1, np.int64)
        entries = network.read(probes)
        network.fix(entries[:1], all_own, all_own)
        scores = np.array([network.run(row, all_own)[0] for row in entries])
        if (np.abs(scores - _Session(data).run(probes)[:, 0]) <= AGREEMENT).all():
            return network
    return ComposedNetwork(data, find_heard(file, found), sources)


class _Session:
    """An ONNX network with one input and one output."""

    def __init__(self, data: bytes) -> None:
        self._session: Any = open_session(data, threads=1)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        answer: NDArray[np.float32] = self._session.run(self._outputs, {self._input: matrix})[0]
        return answer


def _add_up(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the sum of the vectors of each subset of features.

    Parameters
    ----------
    vectors : ndarray of float64, shape (m, d, units)

    Returns
    -------
    ndarray of float32, shape (2^d * m, units)
        Subset by subset.
    """
    sums = np.zeros((1, len(vectors), vectors.shape[2]))
    for feature in range(vectors.shape[1]):
        sums = np.concatenate([sums, sums + vectors[:, feature]])
    return sums.reshape(-1, vectors.shape[2]).astype(np.float32)
