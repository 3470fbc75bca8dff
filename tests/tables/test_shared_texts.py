from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.feature import Feature
from churn.schema import Schema
from churn.tables.encode import encode_batch
from churn.tables.shared_texts import compact, find_longest, measure_texts

TEXTS = st.lists(st.none() | st.text(max_size=30), max_size=8)
KINDS = st.sampled_from([pa.string(), pa.large_string(), pa.string_view()])


@st.composite
def dictionaries(draw: st.DrawFn) -> tuple[pa.Array, list[Any]]:
    """Draw a column, possibly a slice of another, and its cells."""
    words = draw(TEXTS)
    places = st.none() | st.integers(0, len(words) - 1) if words else st.none()
    codes = draw(st.lists(places, max_size=8))
    first = draw(st.integers(0, len(codes)))
    start = draw(st.integers(0, len(words)))
    kind = draw(st.sampled_from([pa.int8(), pa.uint16(), pa.int64()]))
    values = pa.array(["before"] * start + words, draw(KINDS))[start:]
    column = pa.DictionaryArray.from_arrays(pa.array(codes, kind), values)[first:]
    return column, [None if code is None else words[code] for code in codes[first:]]


@given(dictionaries())
def test_a_compact_column_has_the_same_cells(drawn: tuple[pa.Array, list[Any]]) -> None:
    column, cells = drawn
    found = compact(column)
    found.validate(full=True)
    words = found.dictionary.to_pylist()
    assert len(words) <= max(len(column), 0) or found is column
    assert [None if code is None else words[code] for code in found.indices.to_pylist()] == cells


@given(dictionaries())
def test_the_texts_of_a_dictionary_are_measured_by_row(drawn: tuple[pa.Array, list[Any]]) -> None:
    column, cells = drawn
    found = measure_texts(column)
    assert found is not None
    assert found.tolist() == [0 if cell is None else len(cell.encode()) for cell in cells]


@given(TEXTS, KINDS, st.integers(0, 8))
def test_texts_are_measured_in_bytes(cells: list[Any], kind: pa.DataType, first: int) -> None:
    found = measure_texts(pa.array(cells, kind)[first:])
    assert found is not None
    assert found.tolist() == [0 if cell is None else len(cell.encode()) for cell in cells[first:]]


@pytest.mark.parametrize("column", [pa.array([1]), pa.array([True]), pa.nulls(1), pa.array([1]).dictionary_encode()])
def test_other_columns_have_no_texts(column: pa.Array) -> None:
    assert measure_texts(column) is None
    assert compact(column) is column


def test_an_entry_of_a_dictionary_is_explained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = Schema((Feature("x", "category", categories=("a",)),), "left")
    column = pa.DictionaryArray.from_arrays(pa.array(np.arange(1000) % 3), pa.array(["a", "b", "c", "unused"]))
    seen: list[str] = []
    parse = Feature.parse
    monkeypatch.setattr(Feature, "parse", lambda self, text, *more: (seen.append(text), parse(self, text, *more))[1])
    encoded = encode_batch(schema, pa.record_batch([column], ["x"]))
    assert [one.row for one in encoded.violations] == [row for row in range(1000) if row % 3]
    assert {(one.row % 3, one.sent) for one in encoded.violations} == {(1, "b"), (2, "c")}
    assert max(map(seen.count, seen)) <= 2  # read, and explained


@given(dictionaries() | st.tuples(st.builds(pa.array, TEXTS, KINDS), st.just([])))
def test_no_text_is_longer_than_the_longest(drawn: tuple[pa.Array, list[Any]]) -> None:
    found = measure_texts(drawn[0])
    assert found is not None
    assert find_longest(drawn[0]) >= max(found.tolist(), default=0)
    assert find_longest(pa.array([1.5])) == 0


def test_a_buffer_of_views_may_be_longer_than_they_are() -> None:
    whole = pa.array(["a", "b" * 20, None], pa.string_view())
    validity, views, *texts = whole.buffers()
    longer = pa.py_buffer(views.to_pybytes()[: 3 * 16] + bytes(91))
    column = pa.Array.from_buffers(whole.type, 3, [validity, longer, *texts])
    column.validate(full=True)
    assert find_longest(column) == 20
    assert measure_texts(column).tolist() == [1, 20, 0]  # type: ignore[union-attr]
    one = pa.DictionaryArray.from_arrays(pa.array([1], pa.int8()), column)
    assert compact(one).dictionary.to_pylist() == ["b" * 20]
