"""Detect CPUs and GPUs from files, without importing TensorFlow."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from churn.engines import GPU_FILES, find_gpu_files, import_tensorflow
from churn.errors import EngineError

if TYPE_CHECKING:
    from churn.engines import EngineChoice

DRIVER = Path("/proc/driver/nvidia")

_log = logging.getLogger(__name__)


def describe_devices(cpus: int, driver: Path = DRIVER) -> str:
    """Describe the available devices in one line.

    Parameters
    ----------
    cpus : int
        Number of CPUs that the process may use.
    driver : Path
        Folder with the information of NVIDIA's driver.

    Returns
    -------
    str
        E.g. ``CPUs: 8; GPUs: NVIDIA L4 (driver 570.86.15; /dev/nvidiactl, /dev/nvidia0)``.
    """
    files = find_gpu_files()
    if not files:
        return f"CPUs: {cpus}; GPUs: none (no {', '.join(GPU_FILES)})"
    models = [_read_field(path, "Model:") for path in sorted(driver.glob("gpus/*/information"))]
    version = _read_field(driver / "version", "Kernel Module")
    return f"CPUs: {cpus}; GPUs: {', '.join(models) or 'unnamed'} (driver {version}; {', '.join(files)})"


def require_gpu(choice: EngineChoice) -> None:
    """Raise an error unless the engine will run on a GPU.

    Parameters
    ----------
    choice : {"auto", "onnx", "tensorflow"}

    Raises
    ------
    EngineError
        If it will not; the message says what was found.
    """
    if choice == "onnx":
        raise _missing("the engine is onnx, which runs on the CPU; set it to auto or tensorflow")
    if not find_gpu_files():
        raise _missing(
            f"NVIDIA's driver has no device (looked for {', '.join(GPU_FILES)}); "
            "start the container with a GPU, e.g. docker run --gpus all"
        )
    try:
        tensorflow = import_tensorflow()
    except EngineError as error:
        raise _missing(str(error)) from error
    gpus = tensorflow.config.list_physical_devices("GPU")
    if not gpus:
        cuda = "with" if tensorflow.test.is_built_with_cuda() else "without"
        raise _missing(
            f"TensorFlow {tensorflow.__version__}, built {cuda} CUDA, finds none, although there are "
            f"{', '.join(find_gpu_files())}; the image with CUDA is the target gpu"
        )
    for gpu in gpus:
        _log.info("%s: %s", gpu.name, tensorflow.config.experimental.get_device_details(gpu))


def _missing(found: str) -> EngineError:
    return EngineError(f"CHURN_REQUIRE_GPU is set, but no GPU can be used: {found}")


def _read_field(path: Path, label: str) -> str:
    """Return the value of a label in a file of the driver: the text after a colon, or the version in the line."""
    try:
        line = next(line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if label in line)
    except (OSError, StopIteration):
        return "unknown"
    rest = line.partition(label)[2].split()
    if label.endswith(":"):
        return " ".join(rest)
    return next((word for word in rest if word[0].isdigit()), "unknown")
