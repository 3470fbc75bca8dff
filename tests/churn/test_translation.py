from __future__ import annotations

import math

import numpy as np
import pytest

from churn.feature import Feature
from churn.schema import Schema
from churn.translation import Translator

SOURCE = Schema(
    (
        Feature("age", "integer", nullable=True),
        Feature("land", "category", categories=("a", "b", "c"), open=True, nullable=True),
        Feature("card", "flag"),
        Feature("since", "date"),
    ),
    label="left",
)
ROWS = np.array([[40.0, 0.0, 1.0, 9000.0], [math.nan, 3.0, 0.0, 9001.0], [200.0, math.nan, 1.0, 9002.0]])


def translate(*features: Feature) -> tuple[list[list[float]], list[bool]]:
    translated, allowed = Translator(SOURCE, Schema(features, label="left")).translate(ROWS)
    return translated.tolist(), allowed.tolist()


def test_the_same_schema_changes_nothing() -> None:
    translated, allowed = Translator(SOURCE, SOURCE).translate(ROWS)
    np.testing.assert_array_equal(translated, ROWS)
    assert allowed.all()


def test_columns_are_found_by_name_and_categories_by_value() -> None:
    land = Feature("land", "category", categories=("c", "a", "b"), open=True, nullable=True)
    translated, allowed = translate(Feature("since", "date"), land)
    np.testing.assert_array_equal(translated, [[9000, 1], [9001, 3], [9002, math.nan]])
    assert allowed == [True, True, True]


@pytest.mark.parametrize(
    ("feature", "expected"),
    [
        (Feature("age", "integer"), [True, False, True]),
        (Feature("age", "number", maximum=100, nullable=True), [True, True, False]),
        (Feature("age", "flag", nullable=True), [False, True, False]),
        (Feature("land", "category", categories=("a", "b", "c"), nullable=True), [True, False, True]),
        (Feature("land", "category", categories=("b",), open=True), [True, True, False]),
        (Feature("land", "category", categories=("a", "z"), open=True, nullable=True), [True, False, True]),
        (Feature("card", "integer"), [True, True, True]),
        (Feature("card", "category", categories=("0", "1")), [False, False, False]),
        (Feature("age", "date"), [False, False, False]),
        (Feature("since", "number"), [False, False, False]),
        (Feature("new", "number"), [False, False, False]),
        (Feature("new", "number", nullable=True), [True, True, True]),
    ],
)
def test_what_the_other_schema_does_not_allow_is_not_translated(feature: Feature, expected: list[bool]) -> None:
    translated, allowed = translate(feature)
    assert allowed == expected
    assert len(translated) == sum(expected)


def test_a_column_that_is_new_is_missing() -> None:
    translated, _ = translate(Feature("new", "number", nullable=True), Feature("card", "flag"))
    assert math.isnan(translated[0][0])
    assert [row[1] for row in translated] == [1.0, 0.0, 1.0]


def test_nothing_is_nothing() -> None:
    translated, allowed = Translator(SOURCE, SOURCE).translate(np.empty((0, 4)))
    assert translated.shape == (0, 4)
    assert allowed.shape == (0,)
