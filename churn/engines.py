"""Inference engines that run the network with equal results.

Importing this module imports neither TensorFlow nor ONNX Runtime; creating an engine imports its library.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from churn.errors import EngineError
from churn.network_form import check_form, in_one_line

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

EngineChoice = Literal["auto", "onnx", "tensorflow"]

BLOCK_ROWS = 1024
"""Number of rows run together, so that activations fit into the CPU cache and memory is constant."""

GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")
"""Device files of NVIDIA's driver on Linux, in containers and in WSL."""

_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Interface of inference engines.

    Attributes
    ----------
    name, device : str
    width : int or None
        Number of inputs of the network; None if its file allows any number.
    """

    name: str
    device: str
    width: int | None

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the probabilities, shape (n,), of a matrix of shape (n, width), in the type of the network: float64.

        Networks of earlier versions return float32.
        """
        ...


class OnnxEngine:
    """Runs `model.onnx` with ONNX Runtime on the CPU.

    Parameters
    ----------
    path : Path
        File of the network.
    threads : int
        Threads per operation. One is best for requests; more help only with large batches.

    Raises
    ------
    EngineError
        If ONNX Runtime is not installed or can't read the file.
    """

    name = "onnx"

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session: Any = open_session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_form(path, [(each.type, each.shape) for each in inputs], [(each.type, each.shape) for each in outputs])
        self._input = inputs[0].name
        width = inputs[0].shape[-1]
        self.width: int | None = width if isinstance(width, int) else None
        self._outputs = [outputs[0].name]
        # Otherwise each call would create run options, which takes a third of the time for a single customer.
        self._options = import_onnxruntime().RunOptions()
        self.device = "CPU"

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the probabilities, shape (n,), of a matrix of shape (n, width)."""
        if len(matrix) <= BLOCK_ROWS:
            return self._run(matrix)
        return np.concatenate([self._run(block) for block in split_into_blocks(matrix)])

    def _run(self, matrix: NDArray[np.float32]) -> NDArray[np.floating]:
        answer: NDArray[np.floating] = self._session.run(self._outputs, {self._input: matrix}, self._options)[0]
        return answer.reshape(-1)


def open_session(source: Path | bytes, threads: int) -> Any:  # noqa: ANN401  an InferenceSession
    """Return a network in ONNX Runtime on the CPU.

    Parameters
    ----------
    source : Path or bytes
        The ONNX file, or its content.
    threads : int
        Threads per operation.

    Raises
    ------
    EngineError
        If ONNX Runtime is not installed or can't read the network.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads would take CPU from the event loop and other processes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base class
        name = "a part of the network" if isinstance(source, bytes) else source
        raise EngineError(f"ONNX Runtime {onnxruntime.__version__} can't read {name}: {in_one_line(error)}") from error


class TensorFlowEngine:
    """Runs `model.keras` with TensorFlow, on a GPU if there is one.

    The network is converted to one concrete function with a free batch dimension and constant weights. `Model.predict`
    would cost a hundred times as much and leaks memory (tensorflow/tensorflow#40261).

    Parameters
    ----------
    path : Path
        File of the network.
    threads : int
        Threads per operation. TensorFlow applies it once per process, before its first operation.

    Raises
    ------
    EngineError
        If TensorFlow is not installed or Keras can't read the file.
    """

    name = "tensorflow"

    def __init__(self, path: Path, threads: int = 1) -> None:
        tensorflow = import_tensorflow(threads)
        import keras

        import churn.layers  # noqa: F401  registers custom layers

        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises the errors of its layers
            raise EngineError(f"Keras {keras.__version__} can't read {path}: {in_one_line(error)}") from error
        forms = [_describe_form(getattr(model, ends, None)) for ends in ("inputs", "outputs")]
        check_form(path, *forms)
        gpus = tensorflow.config.list_physical_devices("GPU")
        self.device = gpus[0].name.removeprefix("/physical_device:") if gpus else "CPU"
        # Calling the function directly would cost several times as much: each call would first try another signature
        # and format the matrix into an error message that is discarded (see docs/performance.md).
        self._call = tensorflow.raw_ops.PartitionedCall
        self._types = [tensorflow.as_dtype(model.outputs[0].dtype)]
        self.width: int | None = model.inputs[0].shape[-1]
        _replace_silu(model)
        try:
            self._function = freeze(model, self.width)
        except Exception as error:  # TensorFlow raises the errors of its operations
            raise EngineError(f"TensorFlow can't run {path}: {in_one_line(error)}") from error

    def predict(self, matrix: NDArray[np.float32]) -> NDArray[np.floating]:
        """Return the probabilities, shape (n,), of a matrix of shape (n, width)."""
        if len(matrix) <= BLOCK_ROWS or self.device != "CPU":
            return self._run(matrix)
        return np.concatenate([self._run(block) for block in split_into_blocks(matrix)])

    def _run(self, matrix: NDArray[np.float32]) -> NDArray[np.floating]:
        answer: NDArray[np.floating] = self._call(args=[matrix], Tout=self._types, f=self._function)[0].numpy()
        return answer.reshape(-1)


def _describe_form(ends: Any) -> list[tuple[str, tuple[Any, ...]]]:  # noqa: ANN401  Keras tensors
    """Return type and shape of the inputs or outputs of a model, as ONNX Runtime names them; none if it has none."""
    names = {"float32": "float", "float64": "double"}
    return [(f"tensor({names.get(each.dtype, each.dtype)})", tuple(each.shape)) for each in ends or ()]


def _replace_silu(model: Any) -> None:  # noqa: ANN401  Keras model
    """Have the layers of a model compute SiLU with the same two operations, but without TensorFlow's own gradient.

    TensorFlow registers such a gradient under a new name whenever a function that uses it is traced, and never removes
    it: 0.4 MB and 580 Python objects would be left of each model that was ever loaded, and garbage collections would
    take longer and longer.
    """
    import keras

    for layer in model.layers:
        if getattr(layer, "activation", None) is keras.activations.silu:
            layer.activation = lambda values: values * keras.ops.sigmoid(values)
        elif hasattr(layer, "layers"):
            _replace_silu(layer)


def freeze(model: Any, width: int | None) -> Any:  # noqa: ANN401  Keras model and concrete function
    """Convert a Keras model to a concrete function of a float32 matrix, shape (any, width), with constant weights."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = tf.function(
        lambda matrix: model(matrix, training=False),
        input_signature=[tf.TensorSpec([None, width], tf.float32)],
    )
    return convert_variables_to_constants_v2(function.get_concrete_function())


def import_onnxruntime() -> Any:  # noqa: ANN401  a module
    """Import ONNX Runtime with its telemetry turned off, unless ``ORT_DISABLE_TELEMETRY`` is set to another value.

    Otherwise its published packages, from 1.29 on, send a description of the machine and the model to Microsoft and
    write an identifier of the machine below ``~/.cache``. The variable is read once, on import; the library's function
    that turns telemetry off comes too late for these files and for the first event.

    Raises
    ------
    EngineError
        If ONNX Runtime is not installed.
    """
    if not os.environ.get("ORT_DISABLE_TELEMETRY"):
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise _explain(error, "ONNX Runtime", "onnxruntime") from error
    return onnxruntime


def _explain(error: ImportError, name: str, package: str) -> EngineError:
    if isinstance(error, ModuleNotFoundError):
        return EngineError(f"{name} is not installed: pip install {package}")
    return EngineError(f"{name} can't be imported: {error}")  # e.g. for want of memory


def set_tensorflow_environment() -> None:
    """Set environment variables that TensorFlow and Keras read on import, unless they are set already."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Off: oneDNN sums in a different order on each kind of processor, and helps only with large networks.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def import_tensorflow(threads: int | None = None) -> Any:  # noqa: ANN401  a module
    """Import TensorFlow without log output, with memory growth on GPUs and the given number of threads.

    Raises
    ------
    EngineError
        If TensorFlow is not installed.
    """
    set_tensorflow_environment()
    try:
        import tensorflow as tf
    except ImportError as error:
        raise _explain(error, "TensorFlow", "'churn[tensorflow]'") from error
    # Off: TF32 keeps 10 of the 23 bits of a float32, so probabilities on a GPU would differ from a CPU by too much.
    tf.config.experimental.enable_tensor_float_32_execution(enabled=False)
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        if threads is not None:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        _log.debug("TensorFlow is already initialised; threads and memory growth can't be changed")
    return tf


def split_into_blocks(matrix: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return views of a matrix with at most `BLOCK_ROWS` rows each.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n, columns)
    """
    return [matrix[start : start + BLOCK_ROWS] for start in range(0, len(matrix), BLOCK_ROWS)]


def choose_engine(choice: EngineChoice) -> Literal["onnx", "tensorflow"]:
    """Resolve ``auto``: TensorFlow if it finds a GPU, otherwise ONNX Runtime if it is installed, otherwise TensorFlow.

    Raises
    ------
    EngineError
        If neither is installed.
    """
    if choice != "auto":
        return choice
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    has_onnx = importlib.util.find_spec("onnxruntime") is not None
    # Importing TensorFlow takes seconds, so it is used to find GPUs only if the device files of the driver exist.
    if has_tensorflow and find_gpu_files() and import_tensorflow().config.list_physical_devices("GPU"):
        return "tensorflow"
    if has_onnx:
        return "onnx"
    if has_tensorflow:
        return "tensorflow"
    raise EngineError("no engine is installed: pip install onnxruntime, or 'churn[tensorflow]'")


def find_gpu_files() -> list[str]:
    """Return the existing files of `GPU_FILES`."""
    return [path for path in GPU_FILES if os.path.exists(path)]  # noqa: PTH110


def load_engine(choice: EngineChoice, folder: Path, threads: int = 1) -> Engine:
    """Create the engine for a model version.

    Raises
    ------
    EngineError
        If the engine is not installed or can't read its file.
    """
    if choose_engine(choice) == "onnx":
        return OnnxEngine(folder / "model.onnx", threads)
    return TensorFlowEngine(folder / "model.keras", threads)
