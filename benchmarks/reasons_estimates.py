"""Estimated reasons of networks of many features: `python benchmarks/reasons_estimates.py`.

Random networks of two hidden layers (64 and 32 units, SiLU) explain customers with correlated features against 100
others. The stated standard error is compared with the true one, the difference from a run with many times the
evaluations and other orders; shap's explainers run in turn with the same network, background and customers.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
import time
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.engines import OnnxEngine
from churn.reasons.explainer import BUDGET, Explained, Explainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BACKGROUND = 100
LONG = 64
"""How many times the evaluations the long run has."""


@dataclass
class RandomNetwork:
    """A network with random weights, as a scorer."""

    folder: Path
    background: NDArray[np.float64]
    version: str = "1"

    @property
    def support(self) -> None:
        """None: how rare a customer is, is not asked."""

    @property
    def network(self) -> bytes:
        """The ONNX file."""
        return (self.folder / "model.onnx").read_bytes()

    @property
    def sources(self) -> NDArray[np.int64]:
        """Each input is a feature."""
        return np.arange(self.background.shape[1])

    def prepare_rows(self, _: Sequence[Sequence[float]], raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Features are the inputs."""
        return raw.astype(np.float32)


def write(folder: Path, features: int, seed: int) -> None:
    """Write `model.onnx` with random weights whose logits have a standard deviation of about 2."""
    from onnx import TensorProto, helper, numpy_helper, save

    draw = np.random.default_rng(seed)
    nodes, constants, tensor, width = [], [], "x", features
    for layer, units in enumerate((64, 32, 1)):
        weights = draw.normal(size=(width, units)) * (2.5 if units > 1 else 4) / np.sqrt(width)
        for name, array in ((f"w{layer}", weights), (f"b{layer}", 0.5 * draw.normal(size=units))):
            constants.append(numpy_helper.from_array(array.astype(np.float32), name))
        nodes.append(helper.make_node("Gemm", [tensor, f"w{layer}", f"b{layer}"], [f"h{layer}"]))
        nodes.append(helper.make_node("Sigmoid", [f"h{layer}"], [f"s{layer}"]))
        if units > 1:
            nodes.append(helper.make_node("Mul", [f"h{layer}", f"s{layer}"], [f"a{layer}"]))
        tensor, width = (f"a{layer}" if units > 1 else f"s{layer}"), units
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", features])
    exit_ = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["rows", 1])
    graph = helper.make_graph(nodes, "random", [entry], [exit_], constants)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx")


def draw_customers(rows: int, features: int, seed: int) -> NDArray[np.float64]:
    """Draw customers whose features share a few causes; a third of the features are flags."""
    draw = np.random.default_rng(seed)
    causes = np.random.default_rng(0).normal(size=(4, features))
    matrix = draw.normal(size=(rows, 4)) @ causes / 2 + 0.7 * draw.normal(size=(rows, features))
    matrix[:, ::3] = matrix[:, ::3] > 0
    return matrix


def describe(name: str, seconds: float, points: NDArray[Any], truth: NDArray[Any], stated: str = "") -> None:
    """Print a line of the table."""
    error = points - truth
    print(f"| {name} | {1e3 * seconds:.1f} | {np.sqrt((error**2).mean()):.1e} | {np.abs(error).max():.1e} | {stated} |")


def compare(features: int, customers: int, folder: Path) -> None:
    """Explain customers and print the table for a number of features."""
    import shap

    write(folder, features, 0)
    background, raw = draw_customers(BACKGROUND, features, 1), draw_customers(customers, features, 2)
    scorer: Explained = RandomNetwork(folder, background)
    truth = Explainer(scorer, budget=LONG * BUDGET, seed=99).explain(raw)
    print(f"\n{features} features, {customers} customers, a background of {BACKGROUND}\n")
    print("| explainer | ms a customer | true error, rms | largest | stated error, rms |\n|---|---|---|---|---|")
    for budget in (BUDGET // 2, BUDGET, 4 * BUDGET):
        explainer = Explainer(scorer, budget=budget)
        start = time.process_time()
        found = explainer.explain(raw)
        seconds = (time.process_time() - start) / customers
        assert found.errors is not None  # noqa: S101  not exact
        stated = f"{np.sqrt((found.errors**2).mean()):.1e}"
        name = f"ours, {found.evaluations / customers:,.0f} evaluations"
        describe(name, seconds, found.points, truth.points, stated)
    engine = OnnxEngine(folder / "model.onnx")

    def predict(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        return engine.predict(matrix.astype(np.float32)).astype(np.float64)

    masker = shap.maskers.Independent(background, max_samples=len(background))
    permutation = shap.explainers.PermutationExplainer(predict, masker, seed=0)
    kernel, sampling = shap.KernelExplainer(predict, background), shap.SamplingExplainer(predict, background)
    for name, explain in (
        ("PermutationExplainer", lambda rows: permutation(rows).values),
        ("KernelExplainer", lambda rows: kernel.shap_values(rows, silent=True)),
        ("SamplingExplainer", lambda rows: sampling.shap_values(rows, silent=True)),
    ):
        with redirect_stderr(io.StringIO()):  # progress bars
            explain(raw[:1])  # compiles what it needs
            start = time.process_time()
            points = np.asarray(explain(raw))
        describe(f"shap {name}", (time.process_time() - start) / customers, points, truth.points)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, nargs="+", default=[20, 60], help="numbers of features")
    parser.add_argument("--customers", type=int, default=6, help="customers to explain")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        for features in options.features:
            compare(features, options.customers, Path(folder))


if __name__ == "__main__":
    main()
