"""What is read of an ONNX file, and what a network is found to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from explained import DENSE, MadeScorer, as_scorer, shapley_by_definition, write_network

from churn.engines import open_session
from churn.errors import EngineError
from churn.reasons.explainer import Explainer
from churn.reasons.networks import AdditiveNetwork, ComposedNetwork
from churn.reasons.onnx_file import OnnxFile
from churn.reasons.structure import find_heard, find_mixing_layer, follow
from training.onnx_graph import Graph
from training.onnx_trees import add_trees

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from churn.scorer import Scorer

TAIL: list[tuple[Any, ...]] = [
    ("Gemm", ["p", "w0", "b0"], "h"),
    ("Relu", ["h"], "r"),
    ("Gemm", ["r", "w1", "b1"], "y"),
]


def tail_constants(parts: int) -> dict[str, Any]:
    draw = np.random.default_rng(7)
    shapes = {"w0": (parts, 4), "b0": (4,), "w1": (4, 1), "b1": (1,)}
    return {name: draw.normal(size=shape) for name, shape in shapes.items()}


def read(folder: Path, nodes: list[tuple[Any, ...]], constants: dict[str, Any], width: int) -> OnnxFile:
    write_network(folder, nodes, constants, width)
    return OnnxFile((folder / "model.onnx").read_bytes())


def heard(file: OnnxFile, width: int) -> list[int]:
    return np.flatnonzero(find_heard(file, follow(file, width))).tolist()


def test_nodes_and_constants_are_those_of_the_onnx_package(scorers: dict[str, Scorer]) -> None:
    import onnx

    path = scorers["onnx"].folder / "model.onnx"
    file, graph = OnnxFile(path.read_bytes()), onnx.load(path).graph
    assert [(node.operator, node.domain, node.inputs, node.outputs) for node in file.nodes] == [
        (node.op_type, node.domain, tuple(node.input), tuple(node.output)) for node in graph.node
    ]
    assert (file.input, file.output) == (graph.input[0].name, graph.output[0].name)
    assert set(file.constants) == {constant.name for constant in graph.initializer}
    for constant in graph.initializer:
        np.testing.assert_array_equal(file.constants[constant.name], onnx.numpy_helper.to_array(constant))
    for node, theirs in zip(file.nodes, graph.node, strict=True):
        for attribute in theirs.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            mine = node.attributes[attribute.name]
            if isinstance(value, list) and value and isinstance(value[0], float):
                continue  # lists of floats are not needed
            assert (list(mine) if isinstance(value, list) else mine) == value


@pytest.mark.parametrize("data", [b"", b"\x3a\x7f", b"no network", b"\x3a\x00", b"\xff" * 12])
def test_other_data_are_refused(data: bytes) -> None:
    with pytest.raises(EngineError, match="the ONNX file can't be read"):
        OnnxFile(data)


def test_a_network_cut_in_two_computes_the_same(tmp_path: Path) -> None:
    constants = {"w0": np.eye(3)[:, :2], "b0": np.ones(2), "w1": np.ones((2, 1)), "b1": np.zeros(1)}
    file = read(tmp_path, DENSE, constants, 3)
    matrix = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    whole = open_session((tmp_path / "model.onnx").read_bytes(), 1).run(None, {"x": matrix})[0]
    middle = open_session(file.cut("x", 3, "h"), 1).run(None, {"x": matrix})[0]
    assert middle.shape == (5, 2)
    np.testing.assert_array_equal(open_session(file.cut("h", 2, "y"), 1).run(None, {"h": middle})[0], whole)


PICKED = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
BINS: list[tuple[Any, ...]] = [
    ("Gemm", ["x", "pick", "lower"], "d"),
    ("Mul", ["d", "inverse"], "m"),
    ("Max", ["m", "zeros"], "l"),
    ("Min", ["l", "ones"], "p"),
]
BIN_CONSTANTS = {
    "pick": PICKED,
    "lower": np.array([0, 0.5, -0.5, 0.25]),
    "inverse": np.array([1, 2.0, 2.0, 1]),
    "zeros": np.array([0, 0, 0, -np.inf]),
    "ones": np.array([1, 1, 1, np.inf]),
}
GATHERED: list[tuple[Any, ...]] = [
    ("Gather", ["x", "columns"], "g", {"axis": 1}),
    ("Unsqueeze", ["g", "two"], "u"),
    ("Sub", ["u", "lowers"], "s"),
    ("Mul", ["s", "inverses"], "m"),
    ("Clip", ["m", "zero", "one"], "c"),
    ("Reshape", ["c", "flat"], "f"),
    ("Gather", ["x", "others"], "o", {"axis": 1}),
    ("Concat", ["f", "o"], "p", {"axis": 1}),
]
GATHER_CONSTANTS = {
    "columns": np.array([0, 1]),
    "two": np.array([2]),
    "lowers": np.array([[0.0, 1], [0, 1]]),
    "inverses": np.ones((2, 2)),
    "zero": np.float64(0),
    "one": np.float64(1),
    "flat": np.array([-1, 4]),
    "others": np.array([2]),
}


@pytest.mark.parametrize(
    ("nodes", "constants", "parts", "part_feature"),
    [
        (BINS, BIN_CONSTANTS, 4, [0, 1, 1, 2]),
        (GATHERED, GATHER_CONSTANTS, 5, [0, 0, 1, 1, 2]),
    ],
    ids=["bins selected by a product", "bins of gathered columns"],
)
def test_features_are_followed_through_piecewise_linear_bins(
    tmp_path: Path, nodes: list[Any], constants: dict[str, Any], parts: int, part_feature: list[int]
) -> None:
    weights = tail_constants(parts)
    file = read(tmp_path, nodes + TAIL, constants | weights, 3)
    layer = find_mixing_layer(file, follow(file, 3), np.arange(3))
    assert layer is not None
    assert (layer.entry, layer.exit) == ("p", "h")
    assert layer.part_feature.tolist() == part_feature
    # A feature all of whose bins have no weight is not heard.
    weights["w0"][[part for part, feature in enumerate(part_feature) if feature == 1]] = 0
    file = read(tmp_path, nodes + TAIL, constants | weights, 3)
    assert heard(file, 3) == [0, 2]
    background = np.random.default_rng(1).normal(size=(5, 3))
    made = MadeScorer(tmp_path, background, np.arange(3))
    explainer = Explainer(as_scorer(made))
    assert isinstance(explainer._network, AdditiveNetwork)
    for customer in background[:2] + 0.5:
        expected = shapley_by_definition(made.predict, customer, background)
        np.testing.assert_allclose(explainer.explain(customer[None]).points[0], expected, atol=1e-6, rtol=0)


def make_trees(folder: Path) -> NDArray[np.float32]:
    """Write a sum of oblivious trees of the inputs 0 and 2 of 4, in the operations in which training writes them."""
    graph = Graph()
    columns = np.array([[0, 2, 0], [2, 0, 0]], np.int32)
    borders = np.array([[0.0, 0.5, -1], [1, 0.2, 1]], np.float32)
    leaves = np.array([[0.0, 1, 2, 3.5], [1, -1, 0.25, 4], [0.5, 0, 2, 1]], np.float32)
    total = add_trees(graph, "x", (columns, borders, leaves), 4)
    graph.add("Sigmoid", total)
    import onnx
    from onnx import TensorProto, helper

    whole = helper.make_graph(
        graph.nodes,
        "trees",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info(graph.nodes[-1].output[0], TensorProto.FLOAT, ["rows", 1])],
        graph.constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(whole, opset_imports=opsets, ir_version=9), folder / "model.onnx")
    return borders


def test_trees_are_explained_on_composed_inputs_and_hear_what_they_compare(tmp_path: Path) -> None:
    make_trees(tmp_path)
    background = np.random.default_rng(2).normal(size=(8, 4))
    made = MadeScorer(tmp_path, background, np.arange(4))
    explainer = Explainer(as_scorer(made))
    assert isinstance(explainer._network, ComposedNetwork)
    assert explainer.heard.tolist() == [0, 2]
    for customer in background[:3] + 0.7:
        found = explainer.explain(customer[None]).points[0]
        np.testing.assert_allclose(found, shapley_by_definition(made.predict, customer, background), atol=1e-6, rtol=0)
        assert (found[[1, 3]] == 0).all()


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        # The input passes by the first layer.
        ([*TAIL[:2], ("Gemm", ["r", "w1", "b1"], "z"), ("Gemm", ["p", "v", "b1"], "q"), ("Add", ["z", "q"], "y")], {}),
        # An entry mixes two features before the layer.
        ([("Mul", ["p", "turned"], "m"), *[("Gemm", ["m", "w0", "b0"], "h"), *TAIL[1:]]], {"twist": True}),
        # Softmax, which is not known, mixes all.
        ([("Softmax", ["p"], "m"), ("Gemm", ["m", "w0", "b0"], "h"), *TAIL[1:]], {}),
        # Weights that are not constant.
        ([("Identity", ["w0"], "w"), ("Gemm", ["p", "w", "b0"], "h"), *TAIL[1:]], {}),
    ],
    ids=["a way around the layer", "entries that mix", "an unknown operation", "weights that are computed"],
)
def test_other_networks_are_explained_on_composed_inputs(
    tmp_path: Path, nodes: list[Any], constants: dict[str, Any]
) -> None:
    first: list[tuple[Any, ...]] = [("Identity", ["x"], "p")]
    if constants:
        first += [("Gather", ["x", "back"], "turned", {"axis": 1})]
    more = {"v": np.ones((3, 1)), "back": np.array([2, 1, 0])}
    used = {name for node in first + nodes for name in node[1]}
    everything = tail_constants(3) | more
    write_network(tmp_path, first + nodes, {name: everything[name] for name in everything if name in used}, 3)
    background = np.random.default_rng(3).normal(size=(5, 3))
    made = MadeScorer(tmp_path, background, np.arange(3))
    explainer = Explainer(as_scorer(made))
    assert isinstance(explainer._network, ComposedNetwork)
    customer = np.array([0.3, -1.0, 2.0])
    expected = shapley_by_definition(made.predict, customer, background)
    np.testing.assert_allclose(explainer.explain(customer[None]).points[0], expected, atol=1e-6, rtol=0)


def test_a_layer_that_does_not_add_up_precisely_is_not_used(tmp_path: Path) -> None:
    """Huge parts that cancel lose digits when they are added in another order."""
    constants = tail_constants(2)
    constants["w0"] = np.array([[1e6] * 4, [-1e6] * 4])
    write_network(tmp_path, DENSE, constants, 2)
    draw = np.random.default_rng(4)
    background = draw.normal(size=(4, 1)) + 1e-6 * draw.normal(size=(4, 2))
    explainer = Explainer(as_scorer(MadeScorer(tmp_path, background, np.arange(2))))
    assert isinstance(explainer._network, ComposedNetwork)
