"""Small networks to explain, and Shapley values computed by their definition."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from churn.engines import OnnxEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.scorer import Scorer
    from churn.support import SupportData

WEIGHT_SCALE = 0.8


@dataclass(frozen=True)
class MadeScorer:
    """What `Explainer` needs of a scorer. Input i of the network is raw column ``sources[i]``, unchanged."""

    folder: Path
    background: NDArray[np.float64] | None
    sources: NDArray[np.int64]
    version: str = "1"
    support: SupportData | None = None

    @property
    def network(self) -> bytes:
        return (self.folder / "model.onnx").read_bytes()

    def prepare_rows(self, rows: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:
        assert len(rows) == len(raw)
        return raw[:, self.sources].astype(np.float32)

    def predict(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return OnnxEngine(self.folder / "model.onnx").predict(self.prepare_rows(raw.tolist(), raw)).astype(np.float64)


def write_network(
    folder: Path, nodes: Sequence[tuple[Any, ...]], constants: dict[str, Any], width: int, outputs: int = 1
) -> None:
    """Write `model.onnx` from (operator, inputs, output, attributes); floats of constants become float32."""
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], **(more[0] if more else {})) for op, inputs, output, *more in nodes],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", outputs])],
        [
            numpy_helper.from_array(array.astype(np.float32) if array.dtype == np.float64 else array, name)
            for name, array in arrays.items()
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")


DENSE: list[tuple[Any, ...]] = [
    ("Gemm", ["x", "w0", "b0"], "h"),
    ("Tanh", ["h"], "t"),
    ("Gemm", ["t", "w1", "b1"], "z"),
    ("Sigmoid", ["z"], "y"),
]


def make_dense(
    folder: Path, features: int, seed: int, background: NDArray[np.float64], *, unheard: Sequence[int] = ()
) -> Scorer:
    """Return a scorer of a network with a hidden layer that does not hear some features."""
    draw = np.random.default_rng(seed)
    first = WEIGHT_SCALE * draw.normal(size=(features, 6))
    first[list(unheard)] = 0
    write_network(
        folder,
        DENSE,
        {"w0": first, "b0": draw.normal(size=6), "w1": draw.normal(size=(6, 1)), "b1": draw.normal(size=1)},
        features,
    )
    return as_scorer(MadeScorer(folder, background, np.arange(features)))


def as_scorer(made: Any) -> Scorer:
    return made


def shapley_by_definition(
    predict: Callable[[NDArray[np.float64]], NDArray[Any]],
    customer: NDArray[np.float64],
    background: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Spell out every coalition: phi_i = sum of |S|! (d - |S| - 1)! / d! (v(S + i) - v(S)) over all S without i.

    v(S) is the mean prediction of the background's customers after the features of S were set to the customer's.
    """
    features = len(customer)
    v: dict[tuple[int, ...], float] = {}
    for size in range(features + 1):
        for coalition in combinations(range(features), size):
            mixed = background.copy()
            mixed[:, list(coalition)] = customer[list(coalition)]
            v[coalition] = float(np.mean(predict(mixed).astype(np.float64)))
    values = np.zeros(features)
    for feature in range(features):
        for coalition, without in v.items():
            if feature not in coalition:
                size = len(coalition)
                weight = factorial(size) * factorial(features - size - 1) / factorial(features)
                values[feature] += weight * (v[tuple(sorted((*coalition, feature)))] - without)
    return values
