"""Measure variants of calling ONNX Runtime and TensorFlow; the basis of the choices in `churn.engines`.

``python benchmarks/engines.py --models models`` prints two tables of medians in microseconds. The variants alternate
call by call, so that load on the machine affects them equally.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from churn.bundle import KERAS_FILE, ONNX_FILE, read_bundle
from churn.engines import freeze, import_onnxruntime, import_tensorflow
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Predict = Callable[[NDArray[np.float32]], Any]

ROWS = (1, 100, 1_000, 8_192)
SPIN = "session.intra_op.allow_spinning"


def make_onnx_variants(path: Path, width: int) -> dict[str, Predict]:
    """Return variants of calling ONNX Runtime."""
    ort = import_onnxruntime()

    def make_session(threads: int = 1, **changes: Any) -> Any:  # noqa: ANN401
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        options.add_session_config_entry(SPIN, changes.pop("spin", "0"))
        for name, value in changes.items():
            setattr(options, name, value)
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])

    plain = make_session()
    name, out = plain.get_inputs()[0].name, plain.get_outputs()[0].name
    levels = ort.GraphOptimizationLevel

    def run(session: Any, outputs: list[str] | None) -> Predict:  # noqa: ANN401
        return lambda matrix: session.run(outputs, {name: matrix})[0]

    def run_values(matrix: NDArray[np.float32]) -> Any:  # noqa: ANN401
        value = ort.OrtValue.ortvalue_from_numpy(matrix)
        return plain.run_with_ort_values([out], {name: value})[0].numpy()

    binding = plain.io_binding()

    def run_bound(matrix: NDArray[np.float32]) -> Any:  # noqa: ANN401
        binding.bind_cpu_input(name, matrix)
        binding.bind_output(out)
        plain.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]

    bound = {rows: (plain.io_binding(), np.empty((rows, width), np.float32)) for rows in ROWS}
    for fixed, buffer in bound.values():
        fixed.bind_cpu_input(name, buffer)
        fixed.bind_output(out)

    def run_fixed(matrix: NDArray[np.float32]) -> Any:  # noqa: ANN401
        fixed, buffer = bound[len(matrix)]
        buffer[:] = matrix
        plain.run_with_iobinding(fixed)
        return fixed.get_outputs()[0].numpy()

    return {
        "run, outputs named (used)": run(plain, [out]),
        "run, outputs not named": run(plain, None),
        "OrtValue": run_values,
        "IoBinding, bound for each call": run_bound,
        "IoBinding, bound once for each size": run_fixed,
        "no graph optimisation": run(make_session(graph_optimization_level=levels.ORT_DISABLE_ALL), [out]),
        "basic graph optimisation": run(make_session(graph_optimization_level=levels.ORT_ENABLE_BASIC), [out]),
        "extended graph optimisation": run(make_session(graph_optimization_level=levels.ORT_ENABLE_EXTENDED), [out]),
        "no arena": run(make_session(enable_cpu_mem_arena=False), [out]),
        "no memory pattern": run(make_session(enable_mem_pattern=False), [out]),
        "2 threads": run(make_session(2), [out]),
        "2 threads, spinning": run(make_session(2, spin="1"), [out]),
    }


def make_tensorflow_variants(path: Path, width: int) -> tuple[dict[str, Predict], list[int]]:
    """Return variants of calling TensorFlow, and a list with the number of traces so far."""
    tf = import_tensorflow(1)
    import keras

    import churn.layers  # noqa: F401  registers custom layers

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    traces = [0]

    def counted(matrix: Any, training: bool = False) -> Any:  # noqa: ANN401, ARG001  as a Keras model
        traces[0] += 1
        return model(matrix, training=False)

    signature = [tf.TensorSpec([None, width], tf.float32)]
    call, types = tf.raw_ops.PartitionedCall, [tf.float32]
    frozen = freeze(counted, width)
    again = tf.function(lambda matrix: frozen(matrix)[0], input_signature=signature).get_concrete_function()
    plain = tf.function(lambda matrix: counted(matrix), input_signature=signature)
    function = plain.get_concrete_function()
    xla = tf.function(
        lambda matrix: counted(matrix), input_signature=signature, jit_compile=True
    ).get_concrete_function()
    frozen_xla = tf.function(lambda matrix: frozen(matrix)[0], input_signature=signature, jit_compile=True)
    compiled = frozen_xla.get_concrete_function()
    return {
        "frozen, PartitionedCall, NumPy in (used)": lambda matrix: call(args=[matrix], Tout=types, f=frozen)[0].numpy(),
        "frozen, PartitionedCall, tf.constant": lambda m: call(args=[tf.constant(m)], Tout=types, f=frozen)[0].numpy(),
        "frozen, called": lambda matrix: frozen(tf.constant(matrix))[0].numpy(),
        "frozen, wrapped in a tf.function, called": lambda matrix: again(tf.constant(matrix)).numpy(),
        "not frozen, called": lambda matrix: function(tf.constant(matrix)).numpy(),
        "not frozen, NumPy fed to the tf.function": lambda matrix: plain(matrix).numpy(),
        "XLA, called": lambda matrix: xla(tf.constant(matrix)).numpy(),
        "XLA of the frozen, called": lambda matrix: compiled(tf.constant(matrix)).numpy(),
        "XLA of the frozen, PartitionedCall": lambda m: call(args=[m], Tout=types, f=compiled)[0].numpy(),
        "model(matrix)": lambda matrix: model(matrix, training=False).numpy(),
    }, traces


def measure(
    variants: dict[str, Predict], width: int, seconds: float, *, same: bool = True
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Time every variant for every number of rows.

    Parameters
    ----------
    variants : dict of callable
    width : int
    seconds : float
        Duration for each number of rows.
    same : bool
        Whether all variants must return the same result.

    Returns
    -------
    medians : dict of list of float
        Microseconds, in the order of `ROWS`.
    firsts : dict of float
        Milliseconds of the first call with a new number of rows (compilation), mean of seven.
    """
    generator = np.random.default_rng(0)
    medians: dict[str, list[float]] = {name: [] for name in variants}
    firsts = dict.fromkeys(variants, 0.0)
    for rows in ROWS:
        matrix = generator.normal(size=(rows, width)).astype(np.float32)
        reference = np.asarray(next(iter(variants.values()))(matrix)).reshape(-1)
        times: dict[str, list[float]] = {name: [] for name in variants}
        for name, predict in variants.items():
            answer = np.asarray(predict(matrix)).reshape(-1)
            np.testing.assert_allclose(answer, reference, atol=1e-5 if same else 1, err_msg=name)
        end, order = time.perf_counter() + seconds, list(variants.items())
        while time.perf_counter() < end or len(times[name]) < 20:
            generator.shuffle(order)  # the variant after the largest would have cold caches
            for name, predict in order:
                started = time.perf_counter()
                predict(matrix)
                times[name].append(time.perf_counter() - started)
        for name, found in times.items():
            medians[name].append(float(np.median(found)) * 1e6)
    for name, predict in variants.items():
        for rows in range(11, 18):
            if "each size" not in name:
                started = time.perf_counter()
                predict(np.zeros((rows, width), np.float32))
                firsts[name] += (time.perf_counter() - started) / 7 * 1e3
    return medians, firsts


def print_table(title: str, medians: dict[str, list[float]], firsts: dict[str, float]) -> None:
    """Print the medians and their ratios to the first variant."""
    base = next(iter(medians.values()))
    print(f"\n| {title} | " + " | ".join(f"{rows:,} row{'s' * (rows > 1)}" for rows in ROWS) + " | a new size, ms |")
    print("|---" * (len(ROWS) + 2) + "|")
    for name, found in medians.items():
        cells = (f"{one:,.1f} ({one / today:.2f})" for one, today in zip(found, base, strict=True))
        print(f"| {name} | " + " | ".join(cells) + f" | {firsts[name]:.2f} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--engines", default="onnx,tensorflow", help="engines, separated by commas")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds per number of rows")
    options = parser.parse_args()
    folder = Registry(options.models).current_folder()
    width = read_bundle(folder).manifest.preprocessor.width
    if "onnx" in options.engines:
        variants = make_onnx_variants(folder / ONNX_FILE, width)
        print_table("ONNX Runtime, µs", *measure(variants, width, options.seconds))
    if "tensorflow" in options.engines:
        variants, traces = make_tensorflow_variants(folder / KERAS_FILE, width)
        made = traces[0]
        print_table("TensorFlow, µs", *measure(variants, width, options.seconds))
        if traces[0] != made:
            raise SystemExit(f"a function was traced again: {traces[0]} traces of {made} functions")
        print(f"\n{made} functions, {traces[0]} traces: no function was traced again for another number of rows")


if __name__ == "__main__":
    main()
