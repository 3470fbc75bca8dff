"""The ONNX file is written by hand: it is compared with the oracle and with Keras, bit by bit where sums are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import onnx
import oracle
import pytest

from churn.engines import OnnxEngine, TensorFlowEngine
from churn.errors import BundleError
from churn.layers import ObliviousTrees, PiecewiseLinear
from training import onnx_network, onnx_trees
from training.default.oblivious import to_fixed_point
from training.onnx_network import write_onnx
from training.precision import convert

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH = 7


def draw_trees(depth: int, count: int, seed: int = 0) -> list[NDArray[Any]]:
    """Draw columns, borders and leaves: a column of one border, borders shared by trees, levels that are not there."""
    draw = np.random.default_rng([seed, depth, count])
    columns = draw.integers(0, WIDTH, (depth, count)).astype(np.int32)
    borders = draw.choice(draw.normal(size=40).astype(np.float32), (depth, count))
    borders[columns == 2] = 0.5
    borders[draw.random((depth, count)) < 0.1] = np.inf
    return [columns, borders, to_fixed_point(draw.normal(size=(count, 1 << depth)))]


def make_layer(weights: list[NDArray[Any]]) -> keras.Model:
    inputs = keras.Input((WIDTH,), name="customer")
    depth, count = weights[0].shape
    layer = ObliviousTrees(count, depth)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights(weights)
    return model


def draw_matrix(borders: NDArray[np.float32], rows: int = 400) -> NDArray[np.float32]:
    """Draw rows of which half stand exactly on borders, where > and >= differ."""
    draw = np.random.default_rng(1)
    matrix = draw.normal(size=(rows, WIDTH)).astype(np.float32)
    finite = borders[np.isfinite(borders)]
    if len(finite):
        matrix[: rows // 2] = draw.choice(finite, (rows // 2, WIDTH))
    matrix[0], matrix[1], matrix[2] = 0, np.finfo(np.float32).max, np.finfo(np.float32).min
    return matrix


@pytest.mark.parametrize("together", [2048, 7])
@pytest.mark.parametrize(("depth", "count"), [(1, 1), (1, 50), (3, 9), (5, 100), (6, 30), (8, 20), (10, 5)])
def test_trees_add_up_to_the_last_bit_as_by_hand(
    depth: int, count: int, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_trees, "TREES_TOGETHER", together)
    weights = draw_trees(depth, count)
    model, matrix = make_layer(weights), draw_matrix(weights[1])
    write_onnx(model, tmp_path / "model.onnx")
    expected = oracle.predict(model, matrix)
    engine = OnnxEngine(tmp_path / "model.onnx")
    assert np.array_equal(engine.predict(matrix), expected)
    assert np.array_equal(engine.predict(matrix[5:6]), expected[5:6])
    assert len(np.unique(expected)) > 1


def test_trees_that_compare_nothing_are_a_constant(tmp_path: Path) -> None:
    columns, borders, leaves = draw_trees(2, 3)
    borders[:] = np.inf
    model = make_layer([columns, borders, leaves])
    write_onnx(model, tmp_path / "model.onnx")
    found = OnnxEngine(tmp_path / "model.onnx").predict(draw_matrix(borders))
    assert np.array_equal(found, np.full(len(found), leaves[:, 0].sum()))


def test_a_value_that_is_no_number_is_above_no_border_in_either_engine(tmp_path: Path) -> None:
    weights = draw_trees(4, 20)
    model = make_layer(weights)
    model.save(tmp_path / "model.keras")
    write_onnx(model, tmp_path / "model.onnx")
    matrix = np.full((3, WIDTH), np.nan, np.float32)
    matrix[1:, ::2] = [[1], [-1]]
    found = OnnxEngine(tmp_path / "model.onnx").predict(matrix)
    assert np.array_equal(found, TensorFlowEngine(tmp_path / "model.keras").predict(matrix))


def make_network(activation: str = "silu") -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((WIDTH,), name="customer")
    bins = PiecewiseLinear([2, 0], [1, 6], [[-1.0, 0.0], [0.5, 0.5]], [[1.0, 0.5], [4.0, 0.0]])(inputs)
    hidden = keras.layers.Dense(5, activation=activation, bias_initializer="random_normal")(bins)
    others = keras.layers.Dense(4, activation="relu")(PiecewiseLinear([], [3, 5], [], [])(inputs))
    layer = ObliviousTrees(30, 5)
    parts = [layer(inputs), keras.layers.Dense(1, use_bias=False)(hidden), keras.layers.Dense(1)(others)]
    layer.set_weights(draw_trees(5, 30))
    return keras.Model(inputs, keras.layers.Activation("sigmoid")(keras.layers.Add()(parts)))


@pytest.mark.parametrize("activation", ["silu", "relu", "sigmoid", "linear"])
def test_in_float64_a_network_of_every_layer_agrees_with_tensorflow_to_the_last_digits(
    activation: str, tmp_path: Path
) -> None:
    model = convert(make_network(activation), "float64")
    matrix = draw_matrix(draw_trees(5, 30)[1])[3:]
    model.save(tmp_path / "model.keras")
    write_onnx(model, tmp_path / "model.onnx")
    found = OnnxEngine(tmp_path / "model.onnx").predict(matrix)
    assert found.dtype == np.float64
    assert np.abs(found - TensorFlowEngine(tmp_path / "model.keras").predict(matrix)).max() <= 1e-15
    assert np.abs(found - oracle.predict(model, matrix)).max() <= 1e-6


@pytest.mark.parametrize("activation", ["silu", "relu", None])
@pytest.mark.parametrize("bias", [True, False])
def test_members_side_by_side_are_multiplied_apart_with_the_same_result(
    activation: str | None, bias: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_network, "LEAST_ZEROS", 1)
    inputs, draw = keras.Input((12,), name="customer"), np.random.default_rng(4)
    layer = keras.layers.Dense(6, activation=activation, use_bias=bias, dtype="float64")
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="float64")(layer(inputs)))
    kernel = np.kron(np.eye(3), np.ones((4, 2))) * draw.normal(size=(12, 6))
    layer.set_weights([kernel, draw.normal(size=6)] if bias else [kernel])
    model.save(tmp_path / "model.keras")
    write_onnx(model, tmp_path / "model.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert (operators.count("MatMul"), operators.count("Gemm")) == (1, 1)
    matrix = draw.normal(size=(9, 12)).astype(np.float32)
    found = OnnxEngine(tmp_path / "model.onnx").predict(matrix)
    np.testing.assert_allclose(found, TensorFlowEngine(tmp_path / "model.keras").predict(matrix), atol=1e-14)


@pytest.mark.parametrize(
    ("kernel", "blocks"),
    [
        (np.ones((6, 4)), 1),
        (np.kron(np.eye(2), np.ones((3, 2))), 2),
        (np.kron(np.eye(4), np.ones((3, 1))), 4),
        (np.eye(6, 6, 1), 1),
        (np.ones((7, 3)), 1),
    ],
)
def test_blocks_on_the_diagonal_are_counted(kernel: NDArray[np.float64], blocks: int) -> None:
    assert onnx_network._count_blocks(kernel) == blocks


@pytest.mark.parametrize("products", [0, 4096], ids=["columns are gathered", "columns are multiplied"])
def test_a_network_of_every_layer_gives_the_same_in_onnx_by_hand_and_in_tensorflow(
    products: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_network, "MOST_PRODUCTS", products)
    model, matrix = make_network(), draw_matrix(draw_trees(5, 30)[1])[3:]
    model.save(tmp_path / "model.keras")
    write_onnx(model, tmp_path / "model.onnx")
    found = OnnxEngine(tmp_path / "model.onnx").predict(matrix)
    assert np.abs(found - oracle.predict(model, matrix)).max() <= 1e-6
    assert np.abs(found - TensorFlowEngine(tmp_path / "model.keras").predict(matrix)).max() <= 1e-6


def test_bins_are_the_same_to_the_last_bit_however_columns_are_selected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, draw = keras.Input((WIDTH,), name="customer"), np.random.default_rng(2)
    lower, inverse = draw.normal(size=(3, 4)), np.exp(draw.normal(size=(3, 4)) * 5)
    bins = PiecewiseLinear([5, 0, 2], [1, 6], lower.tolist(), inverse.tolist())(inputs)
    matrix = draw_matrix(lower.astype(np.float32))
    for place in range(14):
        kernel = np.eye(14, 1, -place, dtype=np.float32)
        layer = keras.layers.Dense(1, use_bias=False)
        model = keras.Model(inputs, layer(bins))
        layer.set_weights([kernel])
        found = []
        for products in (0, 4096):
            monkeypatch.setattr(onnx_network, "MOST_PRODUCTS", products)
            write_onnx(model, tmp_path / "model.onnx")
            found.append(OnnxEngine(tmp_path / "model.onnx").predict(matrix))
        assert np.array_equal(found[0], found[1])
        assert len(np.unique(found[0])) > 1


def test_bins_without_width_and_columns_without_weights_are_left_out(tmp_path: Path) -> None:
    inputs, draw = keras.Input((WIDTH,), name="customer"), np.random.default_rng(5)
    lower, inverse = draw.normal(size=(2, 3)), [[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]]
    bins = PiecewiseLinear([4, 1], [0, 6], lower.tolist(), inverse)(inputs)
    layers = [keras.layers.Dense(units, activation="relu") for units in (3, 2)]
    both = [keras.layers.Dense(1)(layer(bins)) for layer in layers]
    model = keras.Model(inputs, keras.layers.Add()(both))
    for layer in layers:
        kernel, bias = layer.get_weights()
        kernel[[0, 7]] = 0
        layer.set_weights([kernel, bias])
    matrix = draw.normal(size=(50, WIDTH)).astype(np.float32)
    expected = oracle.predict(model, matrix)
    write_onnx(model, tmp_path / "model.onnx")
    assert np.abs(OnnxEngine(tmp_path / "model.onnx").predict(matrix) - expected).max() <= 1e-6
    first = onnx.load(tmp_path / "model.onnx").graph.initializer[0]
    assert list(first.dims) == [WIDTH, 3]  # bins 1 and 3, and column 0
    # What another layer than a dense one takes is written whole.
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Activation("relu")(bins)))
    write_onnx(model, tmp_path / "model.onnx")
    assert list(onnx.load(tmp_path / "model.onnx").graph.initializer[0].dims) == [WIDTH, 8]
    assert np.abs(OnnxEngine(tmp_path / "model.onnx").predict(matrix) - oracle.predict(model, matrix)).max() <= 1e-6


def test_only_operators_of_the_standard_sets_are_written(tmp_path: Path) -> None:
    write_onnx(make_network(), tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    assert {node.domain for node in proto.graph.node} == {"", "ai.onnx.ml"}
    assert {opset.domain for opset in proto.opset_import} == {"", "ai.onnx.ml"}
    onnx.checker.check_model(proto, full_check=True)


def test_what_can_not_be_written_is_refused_by_name(tmp_path: Path) -> None:
    inputs = keras.Input((2,))
    unknown = keras.Model(inputs, keras.layers.UnitNormalization(name="unit")(inputs))
    with pytest.raises(BundleError, match=r"layer unit: UnitNormalization can't be written to model.onnx; allowed: "):
        write_onnx(unknown, tmp_path / "model.onnx")
    unusual = keras.Model(inputs, keras.layers.Dense(1, activation="mish", name="odd")(inputs))
    with pytest.raises(BundleError, match="layer odd: activation mish can't be written to ONNX; allowed: linear, relu"):
        write_onnx(unusual, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
