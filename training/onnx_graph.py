"""An ONNX graph while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Graph:
    """Nodes and constants, named by their numbers."""

    INT32, UINT32 = TensorProto.INT32, TensorProto.UINT32

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant; return its name.

        Parameters
        ----------
        values : ndarray of any shape
            Its dtype is kept.
        """
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401  ONNX' own
        """Add a node with one output; return the output's name."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, domain=domain, **attributes))
        return name
