"""Run an ONNX network, or a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from churn.engines import open_session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Session:
    """An ONNX network with one input and one output tensor.

    Parameters
    ----------
    data : bytes
        The ONNX file.

    Raises
    ------
    EngineError
        If it can't be read.
    """

    def __init__(self, data: bytes) -> None:
        self._session: Any = open_session(data, threads=1)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the output, shape (n, outputs), for an input of shape (n, width)."""
        answer: NDArray[np.float32] = self._session.run(self._outputs, {self._input: matrix})[0]
        return answer
