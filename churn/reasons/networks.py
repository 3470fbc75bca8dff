"""Networks that score mixtures: some features of a customer, the others of a background customer.

`AdditiveNetwork` is for networks whose features first meet in a linear layer. The output of that layer is a sum of one
vector for each feature, so a mixture follows from another one by adding the difference of two vectors; only the rest of
the network is run for each mixture. `ComposedNetwork` runs any network on composed inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from churn.engines import BLOCK_ROWS, open_session, split_into_blocks
from churn.reasons.onnx_file import OnnxFile
from churn.reasons.structure import find_heard, find_mixing_layer, follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.structure import MixingLayer

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

    def run_subsets(self, features: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the probabilities of all mixtures, without those of the customers themselves.

        Parameters
        ----------
        features : ndarray of int64, shape (p, k), k > 1
            Positions among the heard features that are exchanged.
        rows : ndarray of int64, shape (p,)
            Background customers.

        Returns
        -------
        ndarray of float32, shape (2^k - 2, p)
            Of the subsets 1 to 2^k - 2: feature ``features[:, j]`` is the background's if bit j is set.
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

    def fix(self, background: NDArray[np.float32]) -> None:  # noqa: D102  the protocol's
        self._background = np.stack([self._vectors(row) for row in background])

    def run(self, customer: NDArray[np.float32]) -> float:  # noqa: D102  the protocol's
        hidden = self._start + self._vectors(customer).sum(axis=0)
        return float(self._tail.run(hidden[None].astype(np.float32))[0, 0])

    def meet(self, customer: NDArray[np.float32]) -> Mixer:  # noqa: D102  the protocol's
        vectors = self._vectors(customer)
        return _AdditiveMixer(self._tail, self._background - vectors, self._start + vectors.sum(axis=0))


class _AdditiveMixer:
    """See `Mixer`.

    Parameters
    ----------
    tail : _Session
        The network behind the mixing layer.
    changes : ndarray of float64, shape (m, d, units)
        Vectors of the background customers less those of the customer.
    start : ndarray of float64, shape (units,)
        Output of the mixing layer for the customer.
    """

    def __init__(self, tail: _Session, changes: NDArray[np.float64], start: NDArray[np.float64]) -> None:
        self._tail, self._changes, self._start = tail, changes, start
        self._units = len(start)

    def run_subsets(self, features: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        # Subset by subset, so that customers are neighbours in memory, which is twice as fast.
        changes = self._changes[rows, features.T].astype(np.float32)
        hidden = np.empty((1 << len(changes), len(rows), self._units), np.float32)
        hidden[0] = self._start
        for bit, change in enumerate(changes):
            size = 1 << bit
            np.add(hidden[:size], change, out=hidden[size : 2 * size])
        return self._tail.run(hidden[1:-1].reshape(-1, self._units)).reshape(-1, len(rows))

    def run_paths(self, orders: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        steps = orders.shape[1]
        starts = self._start + self._changes.sum(axis=1)
        found = np.empty(orders.shape)
        together = max(1, BLOCK_ROWS // steps)
        for first in range(0, len(orders), together):
            row, order = rows[first : first + together], orders[first : first + together]
            hidden = -self._changes[row[:, None], order]
            hidden[:, 0] += starts[row]
            summed = np.cumsum(hidden, axis=1).astype(np.float32)
            found[first : first + together] = self._tail.run(summed.reshape(-1, self._units)).reshape(-1, steps)
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

    def run_subsets(self, features: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        others = self._background[rows]
        mixed = np.empty((1 << features.shape[1], *others.shape), np.float32)
        mixed[0] = self._customer
        for bit, feature in enumerate(features.T):
            size = 1 << bit
            mixed[size : 2 * size] = mixed[:size]
            np.copyto(mixed[size : 2 * size], others, where=self._owner == feature[:, None])
        return self._network.score(mixed[1:-1].reshape(-1, others.shape[1])).reshape(-1, len(rows))

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
        scores = np.array([network.run(entries) for entries in network.read(probes)])
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
