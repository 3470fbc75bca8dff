"""Published digits depend neither on the engine nor on the batch, or the network is not published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from churn.engines import OnnxEngine, TensorFlowEngine
from churn.errors import BundleError
from training import agreement
from training.export import export_network
from training.precision import convert

if TYPE_CHECKING:
    from pathlib import Path


def test_both_files_are_proven_to_say_the_same(outcome: Any) -> None:
    matrix = outcome.trained.fitted.preprocessor.transform(outcome.trained.dataset.raw)
    probabilities, difference = agreement.verify_equal(outcome.folder, matrix)
    assert np.array_equal(probabilities.round(6), outcome.trained.fitted.predict(outcome.trained.dataset.raw))
    assert 0 <= difference <= 1e-12


class Saying:
    """An engine that says one thing, and another of batches of one size."""

    def __init__(self, answer: float, size: int = 0, other: float = 0.0) -> None:
        self.answer, self.size, self.other = answer, size, other

    def predict(self, matrix: Any) -> Any:
        return np.full(len(matrix), self.other if len(matrix) == self.size else self.answer)


@pytest.mark.parametrize(
    ("tensorflow", "onnx", "says"),
    [
        (Saying(0.5), Saying(0.50001), "model.keras and model.onnx differ by 1e-05, allowed: 1e-06; not published"),
        (Saying(0.5), Saying(np.nan), "model.keras and model.onnx differ by nan"),
        (Saying(np.nan), Saying(np.nan), "the network returns values that are not probabilities"),
        (Saying(1.5), Saying(1.5), "the network returns values that are not probabilities"),
        (Saying(0.1234564), Saying(0.1234566), "model.onnx, all rows together: 200 of 200 probabilities differ"),
        (Saying(0.25), Saying(0.25, 7, 0.250001), r"model.onnx, in batches of 7: 196 of .* 0.250001 and 0.250000 in"),
        (Saying(0.25, 1, 0.250001), Saying(0.25), "model.keras, in batches of 1: 200 of 200"),
    ],
)
def test_files_that_do_not_agree_are_not_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tensorflow: Saying, onnx: Saying, says: str
) -> None:
    monkeypatch.setattr(agreement, "TensorFlowEngine", lambda _: tensorflow)
    monkeypatch.setattr(agreement, "OnnxEngine", lambda _: onnx)
    with pytest.raises(BundleError, match=says):
        agreement.verify_equal(tmp_path, np.zeros((200, 2), np.float32))


def test_customers_are_made_up_where_the_table_has_few() -> None:
    raw = np.array([[1.0, 10.0], [2.0, 20.0], [np.nan, 30.0]])
    sample = agreement.make_sample(raw, seed=1)
    assert sample.shape == (agreement.SAMPLE_ROWS, 2)
    np.testing.assert_array_equal(sample[:3], raw)
    assert len({repr(row) for row in sample.tolist()}) == 9
    np.testing.assert_array_equal(sample, agreement.make_sample(raw, seed=1))
    many = np.ones((agreement.SAMPLE_ROWS + 1, 2))
    assert len(agreement.make_sample(many, seed=1)) == len(many)


def make_wide() -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((30,), name="customer")
    hidden = inputs
    for units in (200, 90):
        hidden = keras.layers.Dense(units, activation="silu", bias_initializer="random_normal")(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))


def test_a_float32_network_is_refused_where_the_same_in_float64_is_published(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).normal(size=(20_000, 30)).astype(np.float32)
    export_network(make_wide(), tmp_path)
    with pytest.raises(BundleError, match=r"probabilities differ from those of model\.keras in a published digit"):
        agreement.verify_equal(tmp_path, matrix)
    export_network(convert(make_wide(), "float64"), tmp_path)
    assert agreement.verify_equal(tmp_path, matrix)[1] <= 1e-14


def test_a_converted_network_keeps_its_weights_and_can_be_converted_back(tmp_path: Path) -> None:
    model = make_wide()
    wide = convert(model, "float64")
    assert (wide.inputs[0].dtype, wide.outputs[0].dtype) == ("float32", "float64")
    back = convert(wide, "float32")
    for first, second, third in zip(model.get_weights(), wide.get_weights(), back.get_weights(), strict=True):
        assert (first.dtype, second.dtype, third.dtype) == (np.float32, np.float64, np.float32)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, third)
    matrix = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    export_network(wide, tmp_path)
    for engine in (OnnxEngine(tmp_path / "model.onnx"), TensorFlowEngine(tmp_path / "model.keras")):
        assert engine.predict(matrix).dtype == np.float64
        np.testing.assert_allclose(engine.predict(matrix), model.predict(matrix, verbose=0)[:, 0], atol=1e-6)
