"""An ONNX graph while it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Graph:
    """Nodes and constants, named by their numbers; what follows from a tensor of float64 is float64 too."""

    INT32, UINT32 = TensorProto.INT32, TensorProto.UINT32

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.columns: dict[str, NDArray[np.int64]] = {}
        """Columns that were written, of tensors of which some are left out: nothing depends on the others."""
        self._doubles: set[str] = set()

    def is_double(self, name: str) -> bool:
        """Return whether a tensor is float64."""
        return name in self._doubles

    def in_double(self, name: str) -> str:
        """Return a float32 or float64 tensor as float64."""
        if name in self._doubles:
            return name
        cast = self.add("Cast", name, to=TensorProto.DOUBLE)
        self._doubles.add(cast)
        if name in self.columns:
            self.columns[cast] = self.columns[name]
        return cast

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
        if self._doubles.intersection(inputs):
            self._doubles.add(name)
        return name
