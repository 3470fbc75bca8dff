from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn.columns import MAX_VIOLATIONS, encode_columns, find_unusual, find_wrong_numbers
from churn.errors import InvalidCustomersError
from churn.feature import LARGEST, Feature, InvalidValueError, Kind
from churn.schema import Schema

AGE = Feature("age", "integer", minimum=0, maximum=130)
INCOME = Feature("income", "number", nullable=True)
CARD = Feature("card", "flag")
LAND = Feature("land", "category", categories=("x", "y"))
SCHEMA = Schema((AGE, INCOME, CARD, LAND), "left")
COLUMNS: dict[str, Any] = {"age": [30, 40], "income": [1.5, None], "card": [True, "no"], "land": ["y", "x"]}

numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.5, LARGEST, -LARGEST, np.nextafter(LARGEST, np.inf), -1.0, 1e300]),
    st.integers(-200, 200).map(float),
)
bounds = st.none() | st.integers(-5, 5) | st.floats(-200, 200) | st.sampled_from([2 * LARGEST, -2 * LARGEST])


@st.composite
def quantities_and_flags(draw: st.DrawFn) -> Feature:
    kinds: tuple[Kind, ...] = ("number", "integer", "flag")
    kind = draw(st.sampled_from(kinds))
    low, high = (draw(bounds), draw(bounds)) if kind != "flag" else (None, None)
    if low is not None and high is not None and low > high:
        low, high = high, low
    return Feature("x", kind, minimum=low, maximum=high, nullable=draw(st.booleans()))


def is_refused(feature: Feature, number: float) -> bool:
    try:
        feature.encode(None if math.isnan(number) else number)
    except InvalidValueError:
        return True
    return False


@settings(max_examples=300)
@given(quantities_and_flags(), st.lists(numbers, max_size=20))
def test_the_vectorised_rule_is_the_rule_for_one_value(feature: Feature, values: list[float]) -> None:
    found = find_wrong_numbers(feature, np.array(values))
    assert found.tolist() == [is_refused(feature, value) for value in values]


@given(quantities_and_flags(), st.lists(numbers, max_size=20))
def test_an_array_and_a_list_of_the_same_values_are_encoded_alike(feature: Feature, values: list[float]) -> None:
    schema = Schema((feature,), "left")
    listed = [None if math.isnan(value) else value for value in values]
    answers = []
    for column in (np.array(values), listed):
        try:
            answers.append(encode_columns(schema, {"x": column}).tolist())
        except InvalidCustomersError as error:
            answers.append(error.violations)
    assert repr(answers[0]) == repr(answers[1])


def test_columns_become_the_raw_matrix_in_the_order_of_the_schema() -> None:
    raw = encode_columns(SCHEMA, dict(reversed(COLUMNS.items())) | {"unknown": ["?"]})
    assert repr(raw.tolist()) == repr([[30.0, 1.5, 1.0, 1.0], [40.0, math.nan, 0.0, 0.0]])


def test_arrays_of_every_type_are_taken() -> None:
    raw = encode_columns(
        SCHEMA,
        {
            "age": np.array([30, 40], dtype=np.uint8),
            "income": np.array([1.5, np.nan], dtype=np.float32),
            "card": np.array([True, False]),
            "land": np.array(["y", "x"]),
        },
    )
    assert repr(raw.tolist()) == repr([[30.0, 1.5, 1.0, 1.0], [40.0, math.nan, 0.0, 0.0]])


def test_true_is_no_quantity_even_in_an_array() -> None:
    with pytest.raises(InvalidCustomersError, match="age is not a number: sent True"):
        encode_columns(SCHEMA, COLUMNS | {"age": np.array([True, True])})


def test_no_customers_are_an_empty_matrix() -> None:
    assert encode_columns(SCHEMA, {name: [] for name in COLUMNS}).shape == (0, 4)


def test_every_violation_is_listed_in_the_order_of_the_customers() -> None:
    with pytest.raises(InvalidCustomersError) as refusal:
        encode_columns(SCHEMA, {"age": [30, -1], "income": [math.inf, 1], "card": [2, 1], "land": ["y", "z"]})
    found = [(bad.row, bad.field, bad.reason, bad.sent) for bad in refusal.value.violations]
    assert found == [
        (0, "income", "is not a finite number", math.inf),
        (0, "card", "is not a flag", 2),
        (1, "age", "is too small", -1),
        (1, "land", "is an unknown category", "z"),
    ]
    assert str(refusal.value) == (
        "customer 0: income is not a finite number: sent inf, allowed: a number, or null (and 3 more)"
    )
    assert refusal.value.violations[3].allowed == "one of x, y"


@pytest.mark.parametrize("value", [[], 1, None, np.nan, "X"])
def test_a_category_that_is_no_known_text_is_refused(value: Any) -> None:
    with pytest.raises(InvalidCustomersError, match="customer 1: land is "):
        encode_columns(SCHEMA, COLUMNS | {"land": ["x", value]})


def test_a_gap_in_a_category_is_taken_where_gaps_are_allowed() -> None:
    schema = Schema((Feature("land", "category", categories=("x", "y"), nullable=True),), "left")
    for column in (["y", None], np.array(["y", None], dtype=object)):
        assert repr(encode_columns(schema, {"land": column}).tolist()) == repr([[1.0], [math.nan]])


@pytest.mark.parametrize("column", [[-1] * 1000, np.full(1000, -1)])
def test_violations_beyond_the_limit_are_cut_off(column: Any) -> None:
    good: dict[str, Any] = {"income": [1] * 1000, "card": [1] * 1000, "land": ["x"] * 1000}
    with pytest.raises(InvalidCustomersError) as refusal:
        encode_columns(SCHEMA, good | {"age": column})
    assert [bad.row for bad in refusal.value.violations] == list(range(MAX_VIOLATIONS))


def test_a_missing_column_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="columns are missing: age, land"):
        encode_columns(SCHEMA, {"income": [], "card": []})


def test_columns_of_different_lengths_are_the_callers_fault() -> None:
    with pytest.raises(ValueError, match=r"columns differ in length: \[1, 2\]"):
        encode_columns(SCHEMA, COLUMNS | {"age": [30]})


def test_unusual_values_are_found_by_row_and_feature() -> None:
    schema = Schema((Feature("a", "number", trained_minimum=0, trained_maximum=1), CARD), "left")
    raw = np.array([[0.5, 0], [1.1, 1], [math.nan, 1], [-0.1, 0]])
    assert find_unusual(schema, raw) == [(1, 0), (3, 0)]
