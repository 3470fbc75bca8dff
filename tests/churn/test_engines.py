from __future__ import annotations

import builtins
import functools
import importlib.util
import logging
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import oracle
import pytest
from processes import run_python

from churn import engines
from churn.engines import BLOCK_ROWS, OnnxEngine, TensorFlowEngine, choose_engine, load_engine, split_into_blocks
from churn.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def matrix(outcome: Any, dataset: Any) -> np.ndarray:
    return outcome.trained.fitted.preprocessor.transform(dataset.raw)


@pytest.fixture(scope="session")
def loaded(models: Path) -> dict[str, Any]:
    return {
        "onnx": OnnxEngine(models / "1" / "model.onnx"),
        "tensorflow": TensorFlowEngine(models / "1" / "model.keras"),
    }


@pytest.fixture(params=["onnx", "tensorflow"])
def engine(request: pytest.FixtureRequest, loaded: dict[str, Any]) -> Any:
    return loaded[request.param]


def test_an_engine_agrees_with_the_oracle(engine: Any, models: Path, matrix: np.ndarray) -> None:
    import keras

    model = keras.saving.load_model(models / "1" / "model.keras", compile=False, safe_mode=True)
    expected = oracle.predict(model, matrix)
    assert np.ptp(expected) > 0.1
    assert np.abs(engine.predict(matrix) - expected).max() <= 1e-6


def test_the_engines_agree_with_each_other(loaded: dict[str, Any], matrix: np.ndarray) -> None:
    assert np.abs(loaded["onnx"].predict(matrix) - loaded["tensorflow"].predict(matrix)).max() <= 1e-14


def test_a_customer_scores_the_same_alone_and_anywhere_in_a_batch(engine: Any, matrix: np.ndarray) -> None:
    customer = matrix[[123]]
    alone = engine.predict(customer)
    assert alone.shape == (1,)
    assert alone.dtype == np.float64
    for rows in (2, 7, 1000):
        for place in (0, rows // 2, rows - 1):
            batch = matrix[:rows].copy()
            batch[place] = customer
            assert abs(engine.predict(batch)[place] - alone[0]) <= 1e-14


@pytest.mark.parametrize("rows", [BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS])
def test_blocks_are_put_together_in_order(engine: Any, matrix: np.ndarray, rows: int) -> None:
    large = np.resize(matrix, (rows, matrix.shape[1]))
    found = engine.predict(large)
    assert found.shape == (rows,)
    assert np.abs(found - np.resize(engine.predict(matrix), rows)).max() <= 1e-14


def test_a_block_is_never_larger_than_the_limit(engine: Any, matrix: np.ndarray, monkeypatch: Any) -> None:
    sizes: list[int] = []
    run = engine._run
    monkeypatch.setattr(engine, "_run", lambda block: sizes.append(len(block)) or run(block))
    engine.predict(np.resize(matrix, (2 * BLOCK_ROWS + 5, matrix.shape[1])))
    assert sizes == [BLOCK_ROWS, BLOCK_ROWS, 5]


def test_no_customers_get_no_probabilities(engine: Any, matrix: np.ndarray) -> None:
    assert engine.predict(matrix[:0]).shape == (0,)


def test_blocks_are_views() -> None:
    matrix = np.zeros((BLOCK_ROWS + 1, 2), np.float32)
    blocks = split_into_blocks(matrix)
    assert [len(block) for block in blocks] == [BLOCK_ROWS, 1]
    assert all(block.base is matrix for block in blocks)


def test_an_engine_says_what_and_where_it_is(loaded: dict[str, Any]) -> None:
    assert {name: engine.name for name, engine in loaded.items()} == {"onnx": "onnx", "tensorflow": "tensorflow"}
    assert loaded["onnx"].device == "CPU"


@pytest.mark.parametrize(("kind", "name"), [(OnnxEngine, "model.onnx"), (TensorFlowEngine, "model.keras")])
def test_a_file_that_is_no_network_is_refused_by_name(tmp_path: Path, kind: Any, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a network")
    with pytest.raises(EngineError, match=rf"can't read .*/{name}"):
        kind(tmp_path / name)


@pytest.mark.parametrize(
    ("inputs", "outputs", "says"),
    [
        ([["n", 3], ["n", 3]], [["n", 1]], r"tensor\(float\)\['n', 3\], tensor\(float\)\['n', 3\] as input and"),
        ([["n", 3]], [["n", 2]], r"as input and tensor\(float\)\['n', 2\] as output; allowed: one float32 matrix"),
        ([["n", 3]], [["n", 1, 1]], r"\['n', 1, 1\] as output"),
        ([[5, 3]], [["n", 1]], r"tensor\(float\)\[5, 3\] as input"),
        ([["n"]], [["n", 1]], r"tensor\(float\)\['n'\] as input"),
        ([["n", 3]], [["n", 1], ["n", 1]], r"\['n', 1\], tensor\(float\)\['n', 1\] as output"),
    ],
)
def test_an_onnx_network_of_another_form_is_refused_with_it(
    tmp_path: Path, inputs: list[Any], outputs: list[Any], says: str
) -> None:
    from onnx import TensorProto, helper

    given = [helper.make_tensor_value_info(f"in{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(inputs)]
    made = [helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(outputs)]
    shapes = [np.array([-1, *shape[1:]], np.int64) for shape in outputs]
    nodes = [helper.make_node("Reshape", ["in0", f"shape{i}"], [f"out{i}"]) for i in range(len(outputs))]
    constants = [helper.make_tensor(f"shape{i}", TensorProto.INT64, [len(s)], s) for i, s in enumerate(shapes)]
    graph = helper.make_graph(nodes, "other", given, made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match=rf"/model.onnx: the network has .*{says}"):
        OnnxEngine(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["weights", "../weights", "{folder}/weights"])
def test_a_network_whose_weights_are_in_another_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str
) -> None:
    from onnx import TensorProto, helper, numpy_helper

    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / ("inner" if location.startswith("..") else "."))
    np.ones(3, np.float32).tofile(tmp_path / "weights")
    weights = numpy_helper.from_array(np.ones((3, 1), np.float32), "weights")
    inside = weights.raw_data
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["in", "weights"], ["out"])],
            "outside",
            [helper.make_tensor_value_info("in", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1])],
            [weights],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert OnnxEngine(tmp_path / "model.onnx").predict(np.ones((1, 3), np.float32)).tolist() == [3.0]
    (stored,) = model.graph.initializer
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location.format(folder=tmp_path)), ("offset", "0"), ("length", str(len(inside)))):
        entry = stored.external_data.add()
        entry.key, entry.value = key, value
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineError, match=r"can't read .*/model.onnx"):
        OnnxEngine(tmp_path / "model.onnx")


def test_a_keras_network_of_another_form_is_refused_with_it(tmp_path: Path) -> None:
    import keras

    first, second = keras.Input((3,)), keras.Input((3,))
    wide = keras.Model(first, keras.layers.Dense(2)(first))
    two = keras.Model([first, second], keras.layers.Dense(1)(keras.layers.Add()([first, second])))
    for model, says in ((wide, r"\[None, 2\] as output"), (two, r"\[None, 3\], .* as input")):
        model.save(tmp_path / "model.keras")
        with pytest.raises(EngineError, match=rf"/model.keras: the network has .*{says}"):
            TensorFlowEngine(tmp_path / "model.keras")


def test_the_engine_that_was_asked_for_is_loaded_from_its_own_file(models: Path) -> None:
    assert isinstance(load_engine("onnx", models / "1"), OnnxEngine)
    assert isinstance(load_engine("tensorflow", models / "1"), TensorFlowEngine)


@pytest.mark.parametrize(
    ("installed", "driver", "gpus", "chosen"),
    [
        ({"tensorflow", "onnxruntime"}, True, 1, "tensorflow"),
        ({"tensorflow", "onnxruntime"}, True, 0, "onnx"),
        ({"tensorflow", "onnxruntime"}, False, 1, "onnx"),
        ({"onnxruntime"}, True, 1, "onnx"),
        ({"tensorflow"}, False, 0, "tensorflow"),
        ({"tensorflow"}, True, 0, "tensorflow"),
    ],
)
def test_auto_is_tensorflow_with_a_gpu_else_onnx_else_tensorflow(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], driver: bool, gpus: int, chosen: str
) -> None:
    tensorflow = SimpleNamespace(config=SimpleNamespace(list_physical_devices=lambda kind: [kind] * gpus))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(engines, "find_gpu_files", lambda: ["/dev/nvidia0"] * driver)
    monkeypatch.setattr(engines, "import_tensorflow", lambda: tensorflow)
    assert choose_engine("auto") == chosen
    assert choose_engine("onnx") == "onnx"
    assert choose_engine("tensorflow") == "tensorflow"


def test_without_a_driver_tensorflow_is_not_even_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_gpu_files", list)
    monkeypatch.setattr(engines, "import_tensorflow", lambda: pytest.fail("TensorFlow was imported"))
    assert choose_engine("auto") == "onnx"


def test_a_driver_is_seen_by_its_device_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (set(), {"/dev/nvidiactl"}, {"/dev/dxg"}):
        monkeypatch.setattr("os.path.exists", there.__contains__)
        assert engines.find_gpu_files() == sorted(there)


def test_without_any_engine_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(EngineError, match="no engine is installed: pip install onnxruntime"):
        choose_engine("auto")


def test_tensorflow_traces_the_network_once_for_any_number_of_rows(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    traces: list[Any] = []
    call = keras.layers.Dense.call

    @functools.wraps(call)  # Keras asks for its parameters
    def count(layer: Any, *inputs: Any, **options: Any) -> Any:
        traces.append(layer)
        return call(layer, *inputs, **options)

    monkeypatch.setattr(keras.layers.Dense, "call", count)
    engine = TensorFlowEngine(models / "1" / "model.keras")
    assert traces
    traces.clear()
    width = engine._function.inputs[0].shape[-1]
    for rows in (1, 2, 3, 100, 8_192, 8_193, 20_000, 1):
        assert engine.predict(np.zeros((rows, width), np.float32)).shape == (rows,)
    assert not traces


@pytest.mark.parametrize(
    ("package", "engine", "error", "says"),
    [
        (
            "onnxruntime",
            "onnx",
            ModuleNotFoundError("onnxruntime"),
            "ONNX Runtime is not installed: pip install onnxruntime",
        ),
        (
            "tensorflow",
            "tensorflow",
            ModuleNotFoundError("tensorflow"),
            "TensorFlow is not installed: pip install 'churn",
        ),
        ("onnxruntime", "onnx", ImportError("no memory"), "ONNX Runtime can't be imported: no memory"),
        ("tensorflow", "tensorflow", ImportError("no memory"), "TensorFlow can't be imported: no memory"),
    ],
)
def test_a_package_that_can_not_be_imported_is_named_with_the_reason(
    models: Path, monkeypatch: pytest.MonkeyPatch, package: str, engine: Any, error: ImportError, says: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] == package:
            raise error
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(EngineError, match=says):
        load_engine(engine, models / "1")


def test_onnx_runtime_sends_no_telemetry_and_keeps_no_identifier_of_the_machine(models: Path, tmp_path: Path) -> None:
    # It writes both when it is imported, and sends later. In a CI job it does neither of its own accord, hence clear().
    program = """
import os, sys
from pathlib import Path
os.environ.clear()
os.environ |= {"HOME": sys.argv[2], "TMPDIR": sys.argv[2]}
from churn.engines import load_engine
load_engine("onnx", Path(sys.argv[1]))
print(os.listdir(sys.argv[2]))
"""
    assert run_python("-c", program, models / "1", tmp_path).stdout == "[]\n"


def test_gpus_share_their_memory_and_threads_are_set_before_tensorflow_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    threading = SimpleNamespace(
        set_intra_op_parallelism_threads=lambda count: done.append(("intra", count)),
        set_inter_op_parallelism_threads=lambda count: done.append(("inter", count)),
    )
    config = SimpleNamespace(
        list_physical_devices=lambda kind: [f"{kind}:0"],
        experimental=SimpleNamespace(
            enable_tensor_float_32_execution=lambda enabled: done.append(("TF32", enabled)),
            set_memory_growth=lambda gpu, enable: done.append((gpu, enable)),
        ),
        threading=threading,
    )
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    engines.import_tensorflow(3)
    assert done == [("TF32", False), ("GPU:0", True), ("intra", 3), ("inter", 1)]


def test_a_tensorflow_that_already_runs_keeps_its_threads(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(kind: str) -> None:
        raise RuntimeError(kind)

    experimental = SimpleNamespace(enable_tensor_float_32_execution=lambda enabled: enabled)
    tensorflow = SimpleNamespace(config=SimpleNamespace(experimental=experimental, list_physical_devices=refuse))
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    with caplog.at_level(logging.DEBUG):
        assert engines.import_tensorflow(3) is tensorflow
    assert "already initialised" in caplog.text


def test_what_a_user_has_set_for_tensorflow_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    engines.set_tensorflow_environment()
    import os

    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_a_gpu_multiplies_whole_float32_numbers() -> None:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(enabled=True)
    engines.import_tensorflow()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_the_oracle_refuses_a_layer_it_does_not_know() -> None:
    import keras

    inputs = keras.Input((2,))
    unknown = keras.Model(inputs, keras.layers.UnitNormalization()(inputs))
    with pytest.raises(AssertionError, match="does not know the layer UnitNormalization"):
        oracle.predict(unknown, np.zeros((1, 2)))
    unusual = keras.Model(inputs, keras.layers.Dense(1, activation="mish")(inputs))
    with pytest.raises(AssertionError, match="does not know the activation mish"):
        oracle.predict(unusual, np.zeros((1, 2)))


def test_the_oracle_works_out_our_own_layers_as_they_are_saved_and_loaded(tmp_path: Path) -> None:
    import keras

    from churn.layers import ObliviousTrees, PiecewiseLinear, TailIndicators

    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    tails = TailIndicators([0, 2, 2], [1, 1, -1], [0.1, -0.5, 0.7])(inputs)
    bins = PiecewiseLinear([2, 0], [1], [[-1.0, 0.0], [0.5, 0.5]], [[1.0, 0.5], [4.0, 0.0]])(inputs)
    trees = ObliviousTrees(2, 2)
    parts = keras.layers.Concatenate()([tails, bins, trees(inputs)])
    columns, borders = np.array([[0, 2], [1, 2]], np.int32), np.array([[0.1, -0.5], [0.0, np.inf]], np.float32)
    trees.set_weights([columns, borders, np.array([[0.5, -0.25, 1, 2], [0.125, 4, 9, 9]], np.float32)])
    model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(parts))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    matrix = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    matrix[:3] = np.array([[0.1, 0, -0.5], [0.1, 0, 0.7], [0, 0, 0]], dtype=np.float32)
    expected = oracle.predict(loaded, matrix)
    assert len(np.unique(expected.round(6))) > 100
    assert np.abs(TensorFlowEngine(tmp_path / "model.keras").predict(matrix) - expected).max() <= 1e-6


def test_the_oracle_works_out_every_layer_it_knows_as_keras_does() -> None:
    import keras

    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((3,))
    normal = layers.BatchNormalization(
        moving_mean_initializer="random_normal", moving_variance_initializer="ones", beta_initializer="ones"
    )
    left = layers.Dense(4, activation="silu", bias_initializer="random_normal")(normal(inputs))
    right = layers.Activation("tanh")(layers.Dense(4, use_bias=False)(layers.GaussianNoise(0.1)(inputs)))
    merged = [layers.Add()([left, right]), layers.Average()([left, right]), layers.ReLU()(left)]
    hidden = layers.Dropout(0.5)(layers.Concatenate()(merged))
    hidden = layers.Dense(3, activation="elu")(hidden)
    hidden = layers.Dense(3, activation="softplus")(hidden)
    hidden = layers.Dense(1, activation="sigmoid")(hidden)
    model = keras.Model(inputs, layers.Rescaling(0.98, 0.01)(hidden))
    matrix = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    assert np.abs(oracle.predict(model, matrix) - model(matrix).numpy().reshape(-1)).max() <= 1e-6


def test_the_engine_keeps_nothing_of_models_that_were_loaded_before(tmp_path: Path) -> None:
    """TensorFlow's own SiLU registers a gradient for good whenever a function is traced."""
    import gc

    import keras
    from tensorflow.python.framework.func_graph import FuncGraph

    inputs = keras.Input((3,))
    inner = keras.Sequential([keras.layers.Dense(4, activation="silu")])
    outputs = keras.layers.Dense(1, activation="sigmoid")(inner(keras.layers.Dense(4, activation="silu")(inputs)))
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    matrix = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    expected = np.asarray(model(matrix)).reshape(-1)

    def count_graphs() -> int:
        gc.collect()
        return sum(isinstance(found, FuncGraph) for found in gc.get_objects())

    counts = []
    for _ in range(4):
        engine = TensorFlowEngine(tmp_path / "model.keras")
        assert np.abs(engine.predict(matrix) - expected).max() <= 1e-6
        counts.append(count_graphs())
    assert counts[1:] == counts[:1] * 3
