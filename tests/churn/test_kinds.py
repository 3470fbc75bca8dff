"""Dates and open categories: every way in gives the number that `Feature` gives, or refuses as it does."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from churn.columns import encode_columns
from churn.errors import InvalidCustomersError
from churn.feature import Feature, InvalidValueError
from churn.schema import Schema
from churn.tables.encode import encode_batch

SINCE = Feature("since", "date", format="%d-%m-%y")
CITY = Feature("city", "category", categories=("Bern", "Zug"), open=True)
PLAN = Feature("plan", "category", categories=("bronze", "gold"), nullable=True)
COUNT = Feature("count", "integer", nullable=True)

VALUES: dict[str, tuple[Feature, list[Any]]] = {
    "date": (SINCE, ["07-11-12", "2012-11-07", "1-1-70", "31-02-12", "soon", "", "NA", None, " 07-11-12 "]),
    "nullable date": (Feature("since", "date", nullable=True), ["2012-11-07", "07-11-12", "", "None", None]),
    "open category": (CITY, ["Bern", "Zug", "Basel", "bern", "", "NA", None]),
    "nullable open category": (
        Feature("city", "category", categories=("A",), open=True, nullable=True),
        ["A", "B", ""],
    ),
    "a category with gaps": (PLAN, ["NA", "gold", "None", "", None, "silver"]),
    "words for gaps": (COUNT, ["NA", "None", "null", "", None, "NaN"]),
    "gaps that are not allowed": (Feature("count", "integer"), ["NA", None, ""]),
}


def judge(feature: Feature, value: Any, read: Any = None) -> str:
    """Return what `Feature` says of a value: a number, or why it is refused."""
    try:
        return repr((read or feature.encode)(value))
    except InvalidValueError as error:
        return str(error)


def judge_columns(feature: Feature, values: Any) -> str:
    try:
        return repr(float(encode_columns(Schema((feature,), "left"), {feature.name: values})[0, 0]))
    except InvalidCustomersError as error:
        return error.violations[0].reason


def judge_arrow(feature: Feature, column: pa.Array) -> str:
    encoded = encode_batch(Schema((feature,), "left"), pa.record_batch([column], names=[feature.name]))
    return encoded.violations[0].reason if encoded.violations else repr(float(encoded.raw[0, 0]))


@pytest.mark.parametrize("name", VALUES)
def test_every_way_in_says_what_the_feature_says(name: str) -> None:
    feature, values = VALUES[name]
    for value in values:
        said = judge(feature, value)
        assert judge_columns(feature, [value]) == said
        stripped = value.strip() if value else value  # cells of tables are
        said = judge(feature, stripped)
        for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
            assert judge_arrow(feature, pa.array([value], kind)) == said, (value, kind)
        if value is not None:
            assert judge(feature, value, feature.parse) == said


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC")]
)
def test_dates_of_arrow_are_their_days(kind: pa.DataType) -> None:
    for feature in (SINCE, Feature("since", "date", nullable=True)):
        column = pa.array([datetime(2012, 11, 7), datetime(1969, 12, 31)]).cast(pa.timestamp("s")).cast(kind)
        encoded = encode_batch(Schema((feature,), "left"), pa.record_batch([column], names=["since"]))
        assert encoded.raw[:, 0].tolist() == [15651, -1]
        assert judge_arrow(feature, pa.array([None], kind)) == ("nan" if feature.nullable else "is missing")


def test_dates_of_python_and_numpy_are_their_days() -> None:
    days = [date(2012, 11, 7), datetime(2012, 11, 7, 13), "07-11-12"]
    raw = encode_columns(Schema((SINCE,), "left"), {"since": days})
    assert raw[:, 0].tolist() == [15651] * 3
    for unit in ("D", "s", "ns"):
        numbers = np.array(["2012-11-07", "1970-01-02"], dtype=f"datetime64[{unit}]")
        assert encode_columns(Schema((SINCE,), "left"), {"since": numbers})[:, 0].tolist() == [15651, 1]
    gaps = np.array(["NaT"], dtype="datetime64[ns]")
    assert math.isnan(encode_columns(Schema((Feature("since", "date", nullable=True),), "x"), {"since": gaps})[0, 0])
    with pytest.raises(InvalidCustomersError, match="since is missing"):
        encode_columns(Schema((SINCE,), "left"), {"since": gaps})


@pytest.mark.parametrize("value", [15651, 15651.0, True, [], {}])
def test_a_number_is_no_date(value: object) -> None:
    with pytest.raises(InvalidValueError, match="is not a date as text"):
        SINCE.encode(value)
    assert SINCE.allowed == "a date as dd-mm-yy or yyyy-mm-dd"


@pytest.mark.parametrize("value", [1, 1.5, True, []])
def test_an_open_category_takes_texts_alone(value: object) -> None:
    with pytest.raises(InvalidValueError, match="is not a text"):
        CITY.encode(value)


def test_what_is_not_listed_is_one_further_level() -> None:
    assert [CITY.encode(text) for text in ("Bern", "Zug", "Basel", "(other)", "Genf")] == [0, 1, 2, 2, 2]
    assert CITY.levels == ("Bern", "Zug", "(other)")


def test_an_open_category_and_a_date_are_read_back_from_a_file() -> None:
    schema = Schema((SINCE, CITY, PLAN), "left")
    assert Schema.from_dict(schema.to_dict()) == schema
    closed = Schema((SINCE, Feature("city", "category", categories=CITY.categories), PLAN), "left")
    assert closed.fingerprint != schema.fingerprint
