"""Open a network in the fastest form in which mixtures can be scored, and find what it hears.

Mixtures have some features of a customer, and the others of a background customer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn.reasons.additive import AdditiveNetwork
from churn.reasons.composed import ComposedNetwork
from churn.reasons.onnx_file import OnnxFile
from churn.reasons.session import Session
from churn.reasons.structure import find_heard, find_mixing_layer, follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from churn.reasons.protocol import Network

AGREEMENT = 1e-6
"""Maximum absolute difference of a probability from the whole network; otherwise inputs are composed."""


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
        if (np.abs(scores - Session(data).run(probes)[:, 0]) <= AGREEMENT).all():
            return network
    return ComposedNetwork(file.whole(len(sources)), find_heard(file, found), sources)


def find_features(data: bytes, sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns of the raw matrix that a network hears, ascending.

    Parameters
    ----------
    data : bytes
        The ONNX file.
    sources : ndarray of int64, shape (width,)
        Raw column of each input.

    Raises
    ------
    EngineError
        If the file can't be read.
    """
    file = OnnxFile(data)
    return np.unique(sources[find_heard(file, follow(file, len(sources)))])
