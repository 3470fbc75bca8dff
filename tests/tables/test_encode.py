from __future__ import annotations

import decimal
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from churn.columns import MAX_VIOLATIONS
from churn.errors import InvalidCustomersError
from churn.feature import MISSING_WORDS, Feature, InvalidValueError
from churn.schema import Schema
from churn.tables.encode import encode_batch

# --- Reading a batch: the vectorised way says what the rule for one value says ----------------------------------------

FEATURES = (
    Feature("x", "number", minimum=-5, maximum=1e6),
    Feature("x", "number", nullable=True),
    Feature("x", "integer", nullable=True),
    Feature("x", "flag"),
    Feature("x", "flag", nullable=True),
    Feature("x", "category", categories=("a", "NO", "1", "2.5")),
    Feature("x", "category", categories=("a", "1"), nullable=True),
)
texts = st.one_of(
    st.sampled_from(
        [*sorted(MISSING_WORDS), "a", " a ", "1", "1.0", " 1", "2.5", "NO", "yes", "?", "1_0", "inf", "1e9"]
    ),
    st.floats(allow_nan=False).map(repr),
    st.text(max_size=4),
)


def one_by_one(feature: Feature, cells: list[Any]) -> tuple[list[float], list[int]]:
    numbers, wrong = [], []
    for row, cell in enumerate(cells):
        try:
            if isinstance(cell, str):
                cell = cell.strip()
                numbers.append(feature.parse("" if cell in MISSING_WORDS else cell))
            else:
                numbers.append(feature.encode(None if cell is None or math.isnan(cell) else cell))
        except InvalidValueError:
            wrong.append(row)
    return numbers, wrong


def check(feature: Feature, cells: list[Any], column: pa.Array) -> None:
    numbers, wrong = one_by_one(feature, cells)
    schema = Schema((feature,), "left")
    batch = pa.record_batch([column], ["x"])
    if wrong:
        with pytest.raises(InvalidCustomersError) as error:
            encode_batch(schema, batch).check()
        assert [bad.row for bad in error.value.violations] == wrong
        assert {bad.reason for bad in error.value.violations} != {"is not allowed"}
    else:
        assert repr(encode_batch(schema, batch).check()[:, 0].tolist()) == repr(numbers)


@example(feature=FEATURES[5], cells=[" a ", "a"], large=False)
@example(feature=FEATURES[6], cells=[" NA ", " ", "a"], large=True)
@example(feature=FEATURES[1], cells=[" NA ", " ", " 1 "], large=False)
@given(feature=st.sampled_from(FEATURES), cells=st.lists(st.none() | texts, max_size=6), large=st.booleans())
def test_text_is_read_as_the_rule_for_one_cell_reads_it(feature: Feature, cells: list[Any], *, large: bool) -> None:
    column = pa.array(cells, pa.large_string() if large else pa.string())
    check(feature, cells, column)
    check(feature, cells, column.dictionary_encode())


@given(st.sampled_from(FEATURES[:5]), st.lists(st.none() | st.floats() | st.integers(-3, 3).map(float), max_size=6))
def test_numbers_are_read_as_the_rule_for_one_value_reads_them(feature: Feature, cells: list[Any]) -> None:
    check(feature, cells, pa.array(cells, pa.float64()))


@given(st.sampled_from(FEATURES[:5]), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2)))
def test_whole_numbers_are_read_as_the_rule_for_one_value_reads_them(feature: Feature, cells: list[Any]) -> None:
    check(feature, cells[:MAX_VIOLATIONS], pa.array(cells[:MAX_VIOLATIONS], pa.int64()))


@pytest.mark.parametrize("feature", FEATURES[:5])
def test_truth_values_are_flags_and_never_quantities(feature: Feature) -> None:
    check(feature, [True, False], pa.array([True, False]))


@pytest.mark.parametrize("feature", FEATURES)
def test_a_column_of_nothing_is_missing(feature: Feature) -> None:
    check(feature, [None, None], pa.nulls(2))


def test_whole_numbers_may_be_categories() -> None:
    schema = Schema((Feature("x", "category", categories=("1", "2"), nullable=True),), "left")
    for column in (pa.array([1, 2, None]), pa.array([1.0, 2.0, None]), pa.array(["1", "2", ""])):
        found = encode_batch(schema, pa.record_batch([column], ["x"])).check()
        assert repr(found[:, 0].tolist()) == repr([0.0, 1.0, math.nan])


def test_a_number_is_the_same_category_in_a_column_of_any_type() -> None:
    schema = Schema((Feature("x", "category", categories=("1", "2.5")),), "left")
    decimals = [decimal.Decimal("1.00"), decimal.Decimal("2.50")]
    for column in (
        pa.array([1.0, 2.5]),
        pa.array(decimals, pa.decimal128(12, 2)),
        pa.array(decimals).dictionary_encode(),
    ):
        assert encode_batch(schema, pa.record_batch([column], ["x"])).check()[:, 0].tolist() == [0.0, 1.0]


def test_decimals_are_read_to_the_nearest_number() -> None:
    cells = [decimal.Decimal(f"{number}.95") for number in range(61_000, 61_200)]
    schema = Schema((Feature("x", "number"),), "left")
    found = encode_batch(schema, pa.record_batch([pa.array(cells)], ["x"])).check()
    assert found[:, 0].tolist() == [float(cell) for cell in cells]
