"""A student in the stack's place: what it sees, what it learns from, and when it is published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from quick import make_options

from churn.feature import Feature
from churn.schema import Schema
from training import job
from training.dataset import Dataset
from training.default import budget, student
from training.default.budget import allow
from training.default.made_up import make_up_customers
from training.default.oblivious import ObliviousTrees, no_trees
from training.default.student import Shape, count_weights, distil, find_inputs
from training.export import load_onnx

ROWS = 1200


def draw(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two columns that matter together, and a category that matters alone."""
    generator = np.random.default_rng(seed)
    raw = np.column_stack([generator.normal(size=(ROWS, 2)), generator.integers(0, 3, ROWS)])
    logits = 1.5 * raw[:, 0] * raw[:, 1] + (raw[:, 2] == 1) - 0.5
    return raw, (generator.random(ROWS) < 1 / (1 + np.exp(-logits))).astype(np.float64)


def make_cuts(column: int, cuts: list[float], shifts: list[float], *, low: bool) -> ObliviousTrees:
    leaves = [[shift, 0.0] if low else [0.0, shift] for shift in shifts]
    columns = np.full((1, len(cuts)), column, np.int32)
    return ObliviousTrees(columns, np.array([cuts], np.float32), np.array(leaves), 0.0)


@pytest.fixture
def taught_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "ROWS", 20_000)
    monkeypatch.setattr(student, "RECIPE", replace(student.RECIPE, row_visits=200_000))


def fit(monkeypatch: pytest.MonkeyPatch, microseconds: list[float], limit: float) -> Any:
    """Fit within a limit, where the stack and each size of students take these microseconds."""
    times = iter(microseconds)
    monkeypatch.setattr(budget, "estimate_microseconds", lambda *_, **__: next(times))
    raw, labels = draw()
    features = (
        Feature("x", "number"), Feature("y", "number"), Feature("city", "category", categories=("a", "b", "c")),
    )  # fmt: skip
    dataset = Dataset(Schema(features, "left"), raw, labels, {}, ())
    options = make_options()
    config = replace(options.config, budget=limit, tree_depths=(4,), tree_comparisons=2000, tree_passes=30.0)
    fitted = job.fit(dataset, {"train": np.arange(ROWS)}, replace(options, config=config))
    return fitted, dataset


def test_made_up_customers_have_values_that_occur_and_whole_features() -> None:
    generator = np.random.default_rng(0)
    one_hot = np.eye(3)[generator.integers(0, 3, 500)]
    matrix = np.column_stack([generator.normal(size=500), generator.integers(0, 40, 500), one_hot]).astype(np.float32)
    groups = [np.array([0]), np.array([1]), np.array([2, 3, 4])]
    made = make_up_customers(matrix, groups, np.array([0, 1]), 3000, np.random.default_rng(1))
    assert made.shape == (3000, 5)
    assert (made[:, 2:].sum(axis=1) == 1).all()
    for column in range(2):
        assert np.isin(made[:, column], matrix[:, column]).all()
    known = {row.tobytes() for row in matrix}
    assert sum(row.tobytes() in known for row in made) < 1500
    again = make_up_customers(matrix, groups, np.array([0, 1]), 3000, np.random.default_rng(1))
    np.testing.assert_array_equal(again, made)


def test_a_made_up_quantity_stays_near_the_real_one() -> None:
    matrix = np.arange(1000, dtype=np.float32)[:, None]
    made = make_up_customers(matrix, [], np.array([0]), 1000, np.random.default_rng(0))
    drawn = np.random.default_rng(0).integers(0, 1000, 1000)
    assert 5 < np.abs(made[:, 0] - drawn).mean() < 40


@pytest.mark.parametrize("low", [True, False])
def test_a_tail_is_a_ramp_that_rises_where_its_cuts_are(low: bool) -> None:
    matrix = np.column_stack([np.arange(200.0), np.arange(200.0) % 7, np.arange(200.0) % 2]).astype(np.float32)
    end = 10.5 if low else 189.5
    alone = find_inputs(matrix, np.array([0, 1]), np.arange(3), 3, make_cuts(0, [end], [1.0], low=low))
    seen = alone.read(alone.bins.encode(matrix))
    np.testing.assert_allclose(seen[:, -1], matrix[:, 0] > end, atol=1e-5)
    plain = find_inputs(matrix, np.array([0, 1]), np.arange(3), 3, no_trees(0.5))
    np.testing.assert_allclose(seen[:, :-1], plain.read(plain.bins.encode(matrix)), atol=1e-5)
    cuts = [end - 6, end - 3, end, end + 3]
    several = find_inputs(matrix, np.array([0, 1]), np.arange(3), 3, make_cuts(0, cuts, [0.1, 0.5, 0.3, 0.1], low=low))
    ramp = several.read(several.bins.encode(matrix))[:, -1]
    assert (np.diff(ramp) >= 0).all()
    assert ramp[0] == pytest.approx(0, abs=1e-6)
    assert ramp[-1] == pytest.approx(1, abs=1e-6)
    exact = np.array([0.1, 0.5, 0.3, 0.1]) @ (matrix[:, 0] > np.array(cuts)[:, None])
    assert np.abs(ramp - exact).mean() < 0.01


@pytest.mark.usefixtures("taught_little")
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_student_follows_its_teacher_and_is_the_same_network_in_onnx_runtime(activation: Any) -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(1500, 3)).astype(np.float32)

    def teacher(rows: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(1 - rows[:, 0] * rows[:, 1] - 2 * (rows[:, 2] > 2))))

    inputs = find_inputs(matrix, np.arange(3), np.arange(3), 3, make_cuts(2, [2.0], [2.0], low=False))
    groups = [np.array([column]) for column in range(3)]
    learnt = [distil(teacher, matrix, groups, np.arange(3), inputs, Shape((24, 12), activation), 0) for _ in range(2)]
    said = 1 / (1 + np.exp(-learnt[0].predict(matrix)))
    assert np.abs(said - teacher(matrix)).mean() < 0.02
    assert np.abs(said - teacher(matrix)).mean() < 0.1 * np.abs(teacher(matrix).mean() - teacher(matrix)).mean()
    np.testing.assert_allclose(load_onnx(learnt[0].assemble(3)).predict(matrix), said, atol=2e-6)
    np.testing.assert_array_equal(learnt[0].predict(matrix), learnt[1].predict(matrix))
    assert learnt[0].assemble(3).count_params() == count_weights(inputs, (24, 12))


def test_a_student_may_be_worse_by_little_or_by_a_share_of_the_error() -> None:
    assert allow(np.tile([0.1, 0.2], 5000)) == 0.001
    wide = np.tile([0.0, 2.0], 50)
    assert allow(wide) == pytest.approx(0.1 * wide.std(ddof=1) / 10)


@pytest.mark.slow
def test_a_stack_within_the_budget_is_published_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _ = fit(monkeypatch, [12.0], 12.0)
    assert "student" not in fitted.result.details
    assert "student" not in fitted.result.details["out_of_fold"]


@pytest.mark.slow
@pytest.mark.usefixtures("taught_little")
def test_the_smallest_size_that_follows_is_published_and_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SHAPES", (Shape((1, 1), "relu"), Shape((32, 16), "relu"), Shape((48, 24), "silu")))
    monkeypatch.setattr(budget, "LEAST_DIFFERENCE", 0.02)
    fitted, dataset = fit(monkeypatch, [40.0, 5.0, 6.0, 7.0], 8.0)
    details = fitted.result.details["student"]
    assert (details["hidden"], details["follows"]) == ([32, 16], True)
    assert (details["microseconds"], details["stack_microseconds"], details["budget_microseconds"]) == (6, 40, 8)
    assert details["log_loss"] - details["stack_log_loss"] == pytest.approx(details["difference"])
    assert not any("student" in warning for warning in fitted.result.warnings)
    assert "a student of the stack with hidden layers of 32 and 16 units" in fitted.result.notes[-1]
    # The probabilities out of fold are the student's own.
    said, labels = fitted.result.out_of_fold, dataset.labels
    loss = -np.mean(labels * np.log(said) + (1 - labels) * np.log(1 - said))
    assert loss == pytest.approx(details["log_loss"], abs=1e-5)
    assert fitted.result.details["out_of_fold"]["student"] == details["log_loss"]
    assert len(fitted.result.model.layers) == 5
    again, _ = fit(monkeypatch, [40.0, 5.0, 6.0, 7.0], 8.0)
    np.testing.assert_array_equal(again.predict(dataset.raw), fitted.predict(dataset.raw))


@pytest.mark.slow
@pytest.mark.usefixtures("taught_little")
@pytest.mark.parametrize(
    ("microseconds", "says"),
    [([40.0, 5.0, 9.0], "no network of this kind follows it within the budget"),
     ([40.0, 8.5, 9.0], "no network is within the budget")],
)  # fmt: skip
def test_a_student_that_can_not_follow_is_published_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, microseconds: list[float], says: str
) -> None:
    monkeypatch.setattr(budget, "SHAPES", (Shape((1, 1), "silu"), Shape((32, 16), "silu")))
    fitted, _ = fit(monkeypatch, microseconds, 8.0)
    details = fitted.result.details["student"]
    assert (details["hidden"], details["follows"]) == ([1, 1], False)
    assert says in fitted.result.warnings[0]
    assert (
        f"{details['log_loss']:.4f} out of fold, that of the stack {details['stack_log_loss']:.4f}"
        in (fitted.result.warnings[0])
    )
