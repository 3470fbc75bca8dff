"""Standard scores and indicators, as linear functions of bins."""

from __future__ import annotations

import numpy as np
import pytest

from training.default.inputs import Inputs, standardise


def read(matrix: np.ndarray, inputs: Inputs) -> np.ndarray:
    return inputs.read(inputs.bins.encode(matrix.astype(np.float32)))


def make_inputs(*columns: np.ndarray) -> tuple[np.ndarray, Inputs]:
    matrix = np.column_stack(columns).astype(np.float32)
    every = np.arange(matrix.shape[1])
    return matrix, standardise(matrix, every, every, len(every))


def test_a_quantity_is_scaled_and_constant_beyond_the_range_seen() -> None:
    values = np.random.default_rng(0).normal(50, 7, 5000)
    matrix, inputs = make_inputs(values)
    scores = read(matrix, inputs)[:, 0]
    assert scores.mean() == pytest.approx(0, abs=0.01)
    assert scores.std() == pytest.approx(1, abs=0.01)
    inside = (values > np.quantile(values, 0.01)) & (values < np.quantile(values, 0.99))
    assert np.corrcoef(values[inside], scores[inside])[0, 1] == pytest.approx(1, abs=1e-5)
    far = read(np.array([[-1e30], [1e30]]), inputs)[:, 0]
    assert far == pytest.approx([scores.min(), scores.max()], abs=1e-5)


@pytest.mark.parametrize("spike", [0.0, 55.0, 1000.0], ids=["lowest", "between", "highest"])
def test_a_value_that_many_rows_share_is_marked_and_the_others_are_scaled_without_it(spike: float) -> None:
    generator = np.random.default_rng(1)
    values = np.where(generator.random(4000) < 0.3, spike, generator.normal(50, 7, 4000).clip(1, 999))
    matrix, inputs = make_inputs(values)
    scores, marks = read(matrix, inputs).T
    shared = values == spike
    np.testing.assert_allclose(marks, shared, atol=1e-4)
    np.testing.assert_allclose(scores[shared], 0, atol=1e-3)
    assert scores[~shared].mean() == pytest.approx(0, abs=0.01)
    assert scores[~shared].std() == pytest.approx(1, abs=0.01)
    assert inputs.noisy.tolist() == [1, 0]


def test_few_values_become_an_indicator_each_and_up_to_six_nothing_else() -> None:
    four, nine = np.arange(900) % 4, np.arange(900) % 9
    matrix, inputs = make_inputs(four, nine)
    found = read(matrix, inputs)
    np.testing.assert_allclose(found[:, :4], np.eye(4)[four], atol=1e-5)
    np.testing.assert_allclose(found[:, 4:13], np.eye(9)[nine], atol=1e-5)
    np.testing.assert_allclose(found[:, 13], (nine - nine.mean()) / nine.std(), atol=1e-4)
    assert found.shape[1] == 14
    assert inputs.noisy.tolist() == [0] * 13 + [1]


def test_a_merged_kernel_computes_the_same_first_layer() -> None:
    generator = np.random.default_rng(2)
    values = np.where(generator.random(500) < 0.2, 3.0, generator.normal(0, 1, 500))
    matrix, inputs = make_inputs(values, np.arange(500) % 5, generator.exponential(size=500))
    kernel = generator.normal(size=(len(inputs.start), 8)).astype(np.float32)
    bias = generator.normal(size=8).astype(np.float32)
    merged, start = inputs.merge(kernel, bias)
    expected = read(matrix, inputs) @ kernel + bias
    np.testing.assert_allclose(inputs.bins.encode(matrix) @ merged + start, expected, atol=1e-4)


def test_columns_that_are_no_quantities_are_passed_on() -> None:
    matrix = np.column_stack([np.random.default_rng(3).normal(size=300), np.arange(300) % 2]).astype(np.float32)
    inputs = standardise(matrix, np.array([0]), np.array([0, 1]), 2)
    np.testing.assert_array_equal(read(matrix, inputs)[:, 1], matrix[:, 1])
