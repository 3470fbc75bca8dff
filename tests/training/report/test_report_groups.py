from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from churn.feature import Feature
from churn.measures.groups import MAX_LEVELS, split_feature
from churn.schema import Schema
from training.evaluate import Part
from training.report.importance import permutation_importance
from training.report.subgroups import (
    MAX_FEATURES,
    choose_features,
    is_age,
    judge_subgroups,
    widest_gap,
)
from training.report.summary import summarise

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = Schema(
    (
        Feature("Land", "category", categories=("A", "B", "C"), nullable=True),
        Feature("Aktiv", "flag"),
        Feature("customer_age", "integer"),
        Feature("Products", "integer"),
        Feature("Balance", "number", nullable=True),
    ),
    label="Left",
)


@pytest.fixture
def part() -> Part:
    rng = np.random.default_rng(0)
    count = 1500
    raw = np.column_stack(
        [
            rng.choice([0.0, 1.0, np.nan], count, p=[0.6, 0.3, 0.1]),
            rng.integers(0, 2, count),
            rng.integers(18, 80, count),
            rng.integers(1, 4, count),
            np.where(rng.random(count) < 0.4, 0.0, rng.normal(100, 20, count)),
        ]
    ).astype(float)
    raw[rng.random(count) < 0.05, 4] = np.nan
    raw[:5, 0] = 2.0
    logits = -2 + 0.04 * (raw[:, 2] - 40) + raw[:, 1] + 0.5 * np.nan_to_num(raw[:, 0])
    probabilities = 1 / (1 + np.exp(-logits))
    labels = (rng.random(count) < probabilities).astype(float)
    labels[:5] = 0.0
    return Part("test", raw, labels, probabilities.round(6))


IMPORTANCE = np.array([0.01, 0.1, 0.2, 0.0, 0.001])


def test_each_group_is_judged_on_its_own_customers(part: Part) -> None:
    groups = {(group.feature, group.level): group for group in judge_subgroups(SCHEMA, part, 0.4, IMPORTANCE, seed=0)}
    for key, members in {
        ("Land", "B"): part.raw[:, 0] == 1,
        ("Land", "missing"): np.isnan(part.raw[:, 0]),
        ("Aktiv", "yes"): part.raw[:, 1] == 1,
        ("Products", "3"): part.raw[:, 3] == 3,
        ("Balance", "0"): part.raw[:, 4] == 0,
    }.items():
        labels, probabilities, group = part.labels[members], part.probabilities[members], groups[key]
        said = probabilities > 0.4
        assert group.customers == members.sum()
        assert group.leavers == labels.sum()
        assert group.auc.value == pytest.approx(roc_auc_score(labels, probabilities))
        assert group.auc.low < group.auc.value < group.auc.high
        assert group.true_positive_rate.value == pytest.approx(said[labels == 1].mean())
        assert group.false_positive_rate.value == pytest.approx(said[labels == 0].mean())
        assert group.selection_rate.value == pytest.approx(said.mean())
        assert group.predicted == pytest.approx(probabilities.mean())
        assert group.observed.value == pytest.approx(labels.mean())


def test_a_group_of_one_class_has_no_auc_and_is_small(part: Part) -> None:
    group = next(group for group in judge_subgroups(SCHEMA, part, 0.5, IMPORTANCE, seed=0) if group.level == "C")
    assert group.leavers == 0
    assert np.isnan(group.auc.value)
    assert np.isnan(group.true_positive_rate.value)
    assert group.is_small


def test_every_customer_is_in_one_group_of_each_feature(part: Part) -> None:
    for feature, column in zip(SCHEMA.features, part.raw.T, strict=True):
        groups = [members for _, members in split_feature(feature, column)]
        assert (np.sum(groups, axis=0) == 1).all()
        assert all(members.any() for members in groups)


def test_quantities_fall_into_quartiles(part: Part) -> None:
    sizes = [members.sum() for _, members in split_feature(SCHEMA["customer_age"], part.raw[:, 2])]
    assert len(sizes) == 4
    assert min(sizes) > 0.2 * len(part.labels)


def test_rare_categories_are_taken_together() -> None:
    names = tuple(f"c{number}" for number in range(30))
    feature = Feature("Branch", "category", categories=names)
    column = np.repeat(np.arange(30.0), np.arange(30, 0, -1))
    groups = dict(split_feature(feature, column))
    assert len(groups) == MAX_LEVELS + 1
    assert groups["18 rarer values"].sum() == sum(range(1, 19))
    assert "c0" in groups
    assert "c29" not in groups


def test_groups_are_off_only_outside_the_interval(part: Part) -> None:
    honest = judge_subgroups(SCHEMA, part, 0.5, IMPORTANCE, seed=0)
    doubled = Part("test", part.raw, part.labels, np.minimum(part.probabilities * 2, 1))
    assert sum(group.is_off for group in honest) <= 3
    assert all(
        group.is_off for group in judge_subgroups(SCHEMA, doubled, 0.5, IMPORTANCE, seed=0) if not group.is_small
    )


def test_ages_and_the_quantities_that_matter_are_chosen(part: Part) -> None:
    features = tuple(Feature(name, "number") for name in ("Salary", "Age", "Balance", "Score"))
    raw = np.random.default_rng(0).normal(size=(50, 4))
    chosen = choose_features(Schema(features, "Left"), raw, np.array([0.3, 0.0, 0.2, 0.1]))
    assert chosen == [0, 1, 2]
    assert choose_features(SCHEMA, part.raw, IMPORTANCE) == [0, 1, 2, 3, 4]


def test_of_many_flags_those_that_matter_are_kept() -> None:
    features = tuple(Feature(f"f{number}", "flag") for number in range(40))
    raw = np.zeros((10, 40))
    chosen = choose_features(Schema(features, "Left"), raw, np.arange(40.0))
    assert chosen == list(range(40 - MAX_FEATURES, 40))


@pytest.mark.parametrize("name", ["Age", "age", "customer_age", "CustomerAge", "AGE", "Customer Age"])
def test_ages_are_known_by_name(name: str) -> None:
    assert is_age(name)


@pytest.mark.parametrize("name", ["Average", "Mortgage", "Tenure", "Package", "Usage_Minutes"])
def test_other_names_are_no_ages(name: str) -> None:
    assert not is_age(name)


def test_the_widest_gap_leaves_small_groups_out(part: Part) -> None:
    groups = judge_subgroups(SCHEMA, part, 0.3, IMPORTANCE, seed=0)
    gap = widest_gap(groups)
    assert gap
    lower, upper = gap
    rates: dict[str, Any] = {}
    for group in groups:
        if not group.is_small:
            rates.setdefault(group.feature, []).append(group.true_positive_rate.value)
    widest = max(max(values) - min(values) for values in rates.values())
    assert upper.true_positive_rate.value - lower.true_positive_rate.value == pytest.approx(widest)
    assert widest_gap([group for group in groups if group.is_small]) is None


def test_permutation_importance_is_the_rise_of_the_log_loss(part: Part) -> None:
    def predict(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(2 - 0.04 * (raw[:, 2] - 40) - raw[:, 1]))

    found = permutation_importance(predict, part.raw, part.labels, seed=0)
    assert (found.means[[0, 3, 4]] == 0).all()
    rng = np.random.default_rng(5)
    rises = []
    for _ in range(200):
        shuffled = part.raw.copy()
        shuffled[:, 2] = rng.permutation(shuffled[:, 2])
        rises.append(log_loss(part.labels, predict(shuffled)) - log_loss(part.labels, predict(part.raw)))
    assert found.means[2] == pytest.approx(np.mean(rises), abs=3 * np.std(rises) / np.sqrt(found.repeats))
    assert found.means[2] > 3 * found.deviations[2] > 0


def test_permutation_importance_scores_a_bounded_number_of_rows(part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.report.importance.MAX_SCORED", 10_000)
    scored = []

    def predict(raw: NDArray[np.float64]) -> NDArray[np.float64]:
        scored.append(len(raw))
        return np.full(len(raw), 0.3)

    found = permutation_importance(predict, part.raw, part.labels, seed=0)
    assert found.customers == 10_000 // (5 * found.repeats)
    assert sum(scored) <= 10_000 + found.customers


def test_columns_are_summarised_with_their_gaps_and_leavers(part: Part) -> None:
    land, aktiv, age, _, balance = summarise(SCHEMA, [part])
    assert land.missing == np.isnan(part.raw[:, 0]).sum()
    assert [bar.label for bar in land.bars] == ["A", "B", "C"]
    assert max(bar.height for bar in land.bars) == 1
    assert land.bars[0].left == pytest.approx(part.labels[part.raw[:, 0] == 0].mean())
    assert land.bars[2].left is None
    assert aktiv.values == "no, yes"
    assert age.values == "18 to 79"
    assert age.bars[0].label == "18 to 21"
    assert age.bars[0].left == pytest.approx(part.labels[part.raw[:, 2] <= 21].mean())
    assert balance.typical.startswith("median")


def test_a_column_without_any_value_is_said_so() -> None:
    schema = Schema((Feature("Empty", "number", nullable=True),), label="Left")
    part = Part("train", np.full((4, 1), np.nan), np.array([0.0, 1, 0, 1]), np.full(4, 0.5))
    (column,) = summarise(schema, [part])
    assert column.values == "no values"
    assert column.missing == 4
    assert [level for level, _ in split_feature(schema.features[0], part.raw[:, 0])] == ["missing"]


def test_constant_quantities_have_one_bar() -> None:
    schema = Schema((Feature("a", "integer"), Feature("b", "number")), label="Left")
    part = Part("train", np.full((40, 2), 3.0), np.tile([0.0, 1.0], 20), np.full(40, 0.5))
    for column in summarise(schema, [part]):
        assert [bar.height for bar in column.bars if bar.height] == [1.0]
