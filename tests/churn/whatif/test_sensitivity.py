"""Probability along the values of a feature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from made import run

from churn.feature import OTHER, Feature
from churn.schema import Schema
from churn.whatif.sensitivity import Sensitivity, trace
from churn.whatif.values import show

SCHEMA = Schema(
    (
        Feature("money", "number", trained_minimum=11.58, trained_maximum=199_992.48),
        Feature("age", "integer", trained_minimum=18, trained_maximum=92, nullable=True),
        Feature("card", "flag"),
        Feature("plan", "category", categories=("a", "b", "c"), open=True),
        Feature("since", "date", trained_minimum=18_000, trained_maximum=18_800),
        Feature("constant", "number"),
        Feature("city", "category", categories=tuple(f"c{i}" for i in range(300))),
    ),
    "left",
)
ROW = np.array([50_000.123, 40, 1, 3, 18_321, 7, 250])
WEIGHTS = np.array([1e-6, 1e-3, 1e-2, 1e-2, 1e-6, 1e-3, 1e-4])


def score(raw: Any) -> Any:
    return np.where(np.isnan(raw), 500, raw) @ WEIGHTS


def trace_all(row: Any = ROW, points: int = 101) -> Sensitivity:
    found, _ = run(trace(SCHEMA, row, range(len(SCHEMA.features)), points), score)
    assert isinstance(found, Sensitivity)
    return found


@pytest.mark.parametrize("points", [2, 3, 10, 101])
def test_a_curve_has_the_customers_own_place_and_at_most_so_many_points(points: int) -> None:
    found = trace_all(points=points)
    assert found.probability == score(ROW[None]).round(6)[0]
    for curve in found.curves:
        assert 1 <= len(curve.values) <= max(points, 2)
        assert (np.diff(curve.values) > 0).all()
        assert curve.values[curve.own] == ROW[curve.position]
        assert curve.probabilities[curve.own] == found.probability
        for value, probability in zip(curve.values, curve.probabilities, strict=True):
            changed = ROW.copy()
            changed[curve.position] = value
            assert probability == score(changed[None]).round(6)[0]


def test_the_points_are_those_of_the_kind() -> None:
    money, age, card, plan, since, constant, city = trace_all().curves
    assert (money.values[0], money.values[-1], len(money.values)) == (11.58, 199_992.48, 101)
    assert {float(value) % 100 for value in money.values[1:-1]} == {0.0, 50_000.123 % 100}
    assert age.values.tolist() == list(range(18, 93))
    assert card.values.tolist() == [0, 1]
    assert [show(SCHEMA["plan"], value) for value in plan.values] == ["a", "b", "c", OTHER]
    assert (since.values[0], since.values[-1]) == (18_000, 18_800)
    assert all(value == int(value) for value in since.values)
    assert show(SCHEMA["since"], since.values[0]) == "2019-04-14"
    assert constant.values.tolist() == [7]
    assert city.values.tolist() == [*range(100), 250]


def test_an_own_value_among_the_even_ones_takes_no_place() -> None:
    row = ROW.copy()
    row[[0, 1]] = 11.58, 55
    money, age = trace_all(row, points=3).curves[:2]
    assert money.values.tolist() == [11.58, 100_000, 199_992.48]
    assert age.values.tolist() == [18, 55, 92]
    assert trace_all(row, points=2).curves[0].values.tolist() == [11.58, 199_992.48]


def test_a_value_outside_the_range_of_training_extends_the_curve() -> None:
    row = ROW.copy()
    row[1] = 101
    age = trace_all(row).curves[1]
    assert (age.values[-2], age.values[-1], age.own) == (92, 101, len(age.values) - 1)


def test_a_missing_value_has_a_probability_and_no_place() -> None:
    row = ROW.copy()
    row[1] = math.nan
    found = trace_all(row)
    age = found.curves[1]
    assert (age.own, age.missing) == (None, found.probability)
    assert len(age.values) == 75
    assert trace_all().curves[1].missing == score(row[None]).round(6)[0]
    assert trace_all().curves[0].missing is None


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("money", 5.5, 5.5), ("age", 40.0, 40), ("age", math.nan, None), ("card", 1.0, 1), ("plan", 1.0, "b")],
)
def test_values_are_shown_as_in_requests(name: str, value: float, shown: object) -> None:
    found = show(SCHEMA[name], value)
    assert (found, type(found)) == (shown, type(shown))
