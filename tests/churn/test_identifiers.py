"""Columns of identifiers, in every type of Arrow, as text and as they are answered."""

from __future__ import annotations

import datetime as dt
import decimal
import math
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.errors import TableError
from churn.identifiers import as_answered, as_text, choose_type, find_broken, is_possible

UUIDS = [uuid.UUID(int=1), None, uuid.UUID("123e4567-e89b-12d3-a456-426614174000")]
UUID_TEXTS = [None if one is None else str(one) for one in UUIDS]
BYTES = [None if one is None else one.bytes for one in UUIDS]

COLUMNS: list[tuple[Any, list[Any]]] = [
    (pa.array([1, None, -7]), ["1", None, "-7"]),
    (pa.array([2**64 - 1], pa.uint64()), [str(2**64 - 1)]),
    (pa.array([12345678901.0, None, math.nan, -0.0]), ["12345678901", None, None, "0"]),
    (pa.array([15634602.0, 0.5, 1e22, math.inf]), ["15634602", "0.5", "10000000000000000000000", "inf"]),
    (pa.array([7.0, None], pa.float32()), ["7", None]),
    (pa.array([7.0, None], pa.float16()), ["7", None]),
    (pa.array([12345678901.0, None]).dictionary_encode(), ["12345678901", None]),
    (pa.array([decimal.Decimal("12345678901.00"), None]), ["12345678901", None]),
    (pa.array([decimal.Decimal("1.50")]), ["1.50"]),
    (pa.array([decimal.Decimal(10) ** 30], pa.decimal128(38, 0)), ["1" + "0" * 30]),
    (pa.array(["007", "", None]), ["007", "", None]),
    (pa.array(["a"], pa.large_string()), ["a"]),
    (pa.array(["a"], pa.string_view()), ["a"]),
    (pa.array(["a", "a", None]).dictionary_encode(), ["a", "a", None]),
    (pa.array(UUIDS, pa.uuid()), UUID_TEXTS),
    (pa.array(BYTES, pa.binary(16)), UUID_TEXTS),
    (pa.array(BYTES, pa.binary(16)).dictionary_encode(), UUID_TEXTS),
    (pa.array([b"abc", None]), ["abc", None]),
    (pa.array([b"abc"], pa.large_binary()), ["abc"]),
    (pa.array([dt.date(2026, 11, 30)]), ["2026-11-30"]),
    (pa.array([True]), ["true"]),
    (pa.nulls(2), [None, None]),
]


@pytest.mark.parametrize(("column", "texts"), COLUMNS, ids=lambda value: str(getattr(value, "type", "")))
def test_identifiers_as_text(column: pa.Array, texts: list[str | None]) -> None:
    found = as_text(column)
    assert found.type == pa.string()
    assert found.to_pylist() == texts
    assert as_text(column.slice(1)).to_pylist() == texts[1:]
    assert as_text(column.slice(0, 0)).to_pylist() == []


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\xff\x00"]),
        pa.array([b"zero\0byte"]),
        pa.array(BYTES[:1], pa.binary()),
        pa.array([b"\x01\x02\x03"], pa.binary(3)),
        pa.array([[1]]),
        pa.array([{"a": 1}]),
    ],
    ids=lambda column: str(column.type),
)
def test_what_names_nobody_is_refused_by_name(column: pa.Array) -> None:
    with pytest.raises(TableError, match=r"client no .*allowed: texts, whole numbers or UUIDs"):
        as_text(column, "client no")


@pytest.mark.parametrize(
    ("kind", "answered"),
    [
        (pa.float64(), pa.int64()),
        (pa.dictionary(pa.int8(), pa.float32()), pa.int64()),
        (pa.uuid(), pa.string()),
        (pa.binary(16), pa.string()),
        (pa.int32(), pa.int32()),
        (pa.string(), pa.string()),
        (pa.decimal128(20, 0), pa.decimal128(20, 0)),
    ],
)
def test_the_type_of_an_answer(kind: pa.DataType, answered: pa.DataType) -> None:
    assert is_possible(kind)
    assert choose_type(kind) == answered
    assert as_answered(pa.nulls(2, kind)).type == answered


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.binary(), pa.binary(8), pa.struct([("a", pa.int8())])])
def test_types_that_can_not_be_answered(kind: pa.DataType) -> None:
    assert not is_possible(kind)


@given(st.lists(st.none() | st.floats() | st.integers(-(2**53), 2**53).map(float)))
def test_a_float_is_a_whole_number_or_broken(numbers: list[float | None]) -> None:
    column = pa.array(numbers, pa.float64())
    broken, answered = find_broken(column), as_answered(column).to_pylist()
    for row, number in enumerate(numbers):
        missing = number is None or math.isnan(number)
        whole = not missing and float(number or 0).is_integer() and -(2**63) <= float(number or 0) < 2**63
        assert (row in broken) == (not missing and not whole)
        assert answered[row] == (int(number or 0) if whole else None)
