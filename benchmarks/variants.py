"""Publish made-up versions of a model: the same network with another output bias, so that its answers tell it apart."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from churn.bundle import KERAS_FILE, MANIFEST, ONNX_FILE, read_bundle, write_manifest
from churn.columns import encode_columns
from churn.engines import OnnxEngine, import_tensorflow
from churn.registry import Registry
from churn.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ADDED = ("format", "files", "manifest_sha256")
"""Entries of a manifest that `write_manifest` adds."""


def publish_variants(root: Path, source: Path, shifts: Sequence[float], *, with_keras: bool) -> list[int]:
    """Publish copies of a version whose output bias is shifted; return their numbers.

    Parameters
    ----------
    root : Path
        Folder of the models.
    source : Path
        Folder of the version to copy.
    shifts : sequence of float
        One for each new version.
    with_keras : bool
        Whether `model.keras` is changed as well, which needs TensorFlow.
    """
    registry = Registry(root)
    return [
        registry.publish(lambda folder, version, shift=shift: _write(folder, version, source, shift, with_keras),  # type: ignore[misc]
                         promote=False)
        for shift in shifts
    ]  # fmt: skip


def _write(folder: Path, version: int, source: Path, shift: float, with_keras: bool) -> None:
    for path in source.iterdir():
        if path.name != MANIFEST:
            shutil.copy(path, folder / path.name)
    network = onnx.load(source / ONNX_FILE)
    bias = next(one for one in reversed(network.graph.initializer) if list(one.dims) == [1])
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(shift), bias.name))
    onnx.save(network, folder / ONNX_FILE)
    if with_keras:
        _shift_keras(folder / KERAS_FILE, shift)
    content = json.loads((source / MANIFEST).read_text(encoding="utf-8"))
    content = {key: value for key, value in content.items() if key not in ADDED} | {"version": version}
    content["golden"] = _score_golden(source, folder, content["golden"])
    write_manifest(folder, content)


def _score_golden(source: Path, folder: Path, golden: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the golden rows with the probabilities of the new network."""
    bundle = read_bundle(source)
    scorer = Scorer(bundle, OnnxEngine(folder / ONNX_FILE))
    columns = {name: [row["customer"].get(name) for row in golden] for name in scorer.schema.names}
    found = scorer.predict(encode_columns(scorer.schema, columns)).astype(float).tolist()
    return [{**row, "probability": probability} for row, probability in zip(golden, found, strict=True)]


def _shift_keras(path: Path, shift: float) -> None:
    import_tensorflow()
    import keras

    import churn.layers  # noqa: F401  registers custom layers

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    layer = model.layers[-1]
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + np.float32(shift)])
    model.save(path)
