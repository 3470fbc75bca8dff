from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from churn import devices
from churn.devices import describe_devices, require_gpu
from churn.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

FILES = ["/dev/nvidiactl", "/dev/nvidia0"]


@pytest.fixture
def with_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_gpu_files", lambda: FILES)


@pytest.fixture
def without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_gpu_files", list)


def pretend_tensorflow(monkeypatch: pytest.MonkeyPatch, gpus: list[str], *, cuda: bool) -> None:
    config: Any = SimpleNamespace(
        list_physical_devices=lambda _: [SimpleNamespace(name=name) for name in gpus],
        experimental=SimpleNamespace(get_device_details=lambda _: {"device_name": "NVIDIA L4"}),
    )
    module = SimpleNamespace(__version__="2.21.0", config=config, test=SimpleNamespace(is_built_with_cuda=lambda: cuda))
    monkeypatch.setattr(devices, "import_tensorflow", lambda: module)


@pytest.mark.usefixtures("without_driver")
def test_a_machine_without_a_driver_is_described_by_what_was_looked_for() -> None:
    assert describe_devices(3) == "CPUs: 3; GPUs: none (no /dev/nvidiactl, /dev/nvidia0, /dev/dxg)"


@pytest.mark.usefixtures("with_driver")
def test_gpus_are_described_as_the_driver_names_them(tmp_path: Path) -> None:
    for number, model in enumerate(["NVIDIA L4", "NVIDIA H100 80GB HBM3"]):
        folder = tmp_path / "gpus" / str(number)
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 24\n")
    (tmp_path / "version").write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23\nGCC version: gcc 12\n"
    )
    assert describe_devices(8, tmp_path) == (
        "CPUs: 8; GPUs: NVIDIA L4, NVIDIA H100 80GB HBM3 (driver 570.86.15; /dev/nvidiactl, /dev/nvidia0)"
    )


@pytest.mark.usefixtures("with_driver")
def test_a_driver_that_describes_nothing_is_described_by_its_files(tmp_path: Path) -> None:
    assert describe_devices(1, tmp_path) == "CPUs: 1; GPUs: unnamed (driver unknown; /dev/nvidiactl, /dev/nvidia0)"


@pytest.mark.usefixtures("with_driver")
def test_a_required_gpu_is_not_found_behind_an_engine_that_uses_none() -> None:
    with pytest.raises(EngineError, match="the engine is onnx"):
        require_gpu("onnx")


@pytest.mark.usefixtures("without_driver")
def test_a_required_gpu_is_missed_before_tensorflow_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "import_tensorflow", lambda: pytest.fail("imported"))
    with pytest.raises(EngineError, match=r"CHURN_REQUIRE_GPU.*no device.*nvidia0.*--gpus all"):
        require_gpu("auto")


@pytest.mark.usefixtures("with_driver")
def test_a_tensorflow_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_tensorflow(monkeypatch, [], cuda=False)
    with pytest.raises(EngineError, match=r"TensorFlow 2\.21\.0, built without CUDA, finds none.*nvidia0"):
        require_gpu("auto")


@pytest.mark.usefixtures("with_driver")
def test_a_missing_tensorflow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise EngineError("TensorFlow is not installed")

    monkeypatch.setattr(devices, "import_tensorflow", fail)
    with pytest.raises(EngineError, match=r"CHURN_REQUIRE_GPU.*TensorFlow is not installed"):
        require_gpu("tensorflow")


@pytest.mark.usefixtures("with_driver")
def test_a_required_gpu_that_is_there_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pretend_tensorflow(monkeypatch, ["/physical_device:GPU:0"], cuda=True)
    with caplog.at_level("INFO"):
        require_gpu("auto")
    assert "GPU:0" in caplog.text
    assert "NVIDIA L4" in caplog.text
