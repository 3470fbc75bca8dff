"""What is read of an ONNX file, and what a network is found to hear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bank import REPOSITORY
from explained import DENSE, MadeScorer, as_scorer, shapley_by_definition, write_network

from churn.engines import open_session
from churn.errors import EngineError
from churn.reasons.explainer import Explainer
from churn.reasons.networks import AdditiveNetwork, ComposedNetwork
from churn.reasons.onnx_file import OnnxFile
from churn.reasons.structure import find_heard, find_mixing_layer, follow
from churn.scorer import load_scorer
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


def test_nodes_and_constants_are_those_of_the_onnx_package_in_float32(scorers: dict[str, Scorer]) -> None:
    import onnx

    path = scorers["onnx"].folder / "model.onnx"
    file, graph = OnnxFile(path.read_bytes()), onnx.load(path).graph
    assert [(node.operator, node.domain, node.inputs, node.outputs) for node in file.nodes] == [
        (node.op_type, node.domain, tuple(node.input), tuple(node.output)) for node in graph.node
    ]
    assert (file.input, file.output) == (graph.input[0].name, graph.output[0].name)
    assert set(file.constants) == {constant.name for constant in graph.initializer}
    for constant in graph.initializer:
        stored = onnx.numpy_helper.to_array(constant)
        narrow = stored.astype(np.float32) if stored.dtype == np.float64 else stored
        np.testing.assert_array_equal(file.constants[constant.name], narrow)
        assert file.constants[constant.name].dtype == narrow.dtype
    for node, theirs in zip(file.nodes, graph.node, strict=True):
        for attribute in theirs.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            mine = node.attributes[attribute.name]
            if (theirs.op_type, value) == ("Cast", onnx.TensorProto.DOUBLE):
                value = onnx.TensorProto.FLOAT
            if isinstance(value, list) and value and isinstance(value[0], float):
                continue  # lists of floats are not needed
            assert (list(mine) if isinstance(value, list) else mine) == value


def test_a_float64_network_is_whole_in_float32(scorers: dict[str, Scorer]) -> None:
    data = (scorers["onnx"].folder / "model.onnx").read_bytes()
    file, width = OnnxFile(data), len(scorers["onnx"].sources)
    matrix = np.random.default_rng(0).normal(size=(100, width)).astype(np.float32)
    found = []
    for network in (data, file.whole(width)):
        session = open_session(network, 1)
        found.append(session.run(None, {session.get_inputs()[0].name: matrix})[0])
    assert [answer.dtype for answer in found] == [np.float64, np.float32]
    assert 0 < np.abs(found[0] - found[1]).max() <= 1e-6


def test_the_layer_behind_a_conversion_to_float64_is_found() -> None:
    scorer = load_scorer(REPOSITORY / "models" / "1", "onnx")
    file = OnnxFile(scorer.network)
    found = follow(file, len(scorer.sources))
    layer = find_mixing_layer(file, found, scorer.sources)
    assert layer is not None
    assert [node.operator for node in file.nodes if layer.entry in node.outputs] == ["Cast"]
    assert found[layer.entry].shape == (len(scorer.sources), len(layer.weights))


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


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("bias", [[], ["b1"]])
def test_scores_come_in_a_row_behind_a_layer_of_one_unit(tmp_path: Path, *, is_turned: bool, bias: list[str]) -> None:
    draw = np.random.default_rng(3)
    weights = draw.normal(size=(4, 1))
    constants = {"w0": draw.normal(size=(3, 4)), "w1": weights.T if is_turned else weights}
    constants |= {name: draw.normal(size=1) for name in bias}
    nodes: list[tuple[Any, ...]] = [
        ("Gemm", ["x", "w0"], "h"),
        ("Tanh", ["h"], "t"),
        ("Gemm", ["t", "w1", *bias], "z", {"transB": int(is_turned)}),
        ("Sigmoid", ["z"], "y"),
    ]
    file = read(tmp_path, nodes, constants, 3)
    hidden = draw.normal(size=(50, 4)).astype(np.float32)
    row = open_session(file.cut_scores("h", 4), threads=1).run(None, {"h": hidden})[0]
    column = open_session(file.cut("h", 4, "y"), threads=1).run(None, {"h": hidden})[0]
    assert (row.shape, column.shape) == ((1, 50), (50, 1))
    np.testing.assert_allclose(row[0], column[:, 0], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "end",
    [
        [("Gemm", ["t", "w1", "b1"], "z"), ("Mul", ["z", "z"], "y")],  # not a function of one input
        [("Gemm", ["t", "w1", "b1"], "z", {"alpha": 2.0}), ("Sigmoid", ["z"], "y")],
        [("Gemm", ["t", "w2", "b2"], "z"), ("ReduceMean", ["z", "axis"], "y", {"keepdims": 1})],  # of two units
        [("Sigmoid", ["t"], "s"), ("ReduceMean", ["s", "axis"], "y", {"keepdims": 1})],  # no layer
    ],
)
def test_other_ends_are_left_as_they_are(tmp_path: Path, end: list[tuple[Any, ...]]) -> None:
    draw = np.random.default_rng(4)
    constants: dict[str, Any] = {"w0": draw.normal(size=(3, 4)), "axis": np.array([1])}
    constants |= {"w1": draw.normal(size=(4, 1)), "b1": np.ones(1), "w2": draw.normal(size=(4, 2)), "b2": np.ones(2)}
    used = {name for node in end for name in node[1]} | {"w0"}
    nodes = [("Gemm", ["x", "w0"], "h"), ("Tanh", ["h"], "t"), *end]
    file = read(tmp_path, nodes, {name: value for name, value in constants.items() if name in used}, 3)
    assert file.cut_scores("h", 4) == file.cut("h", 4, "y")
