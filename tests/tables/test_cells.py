"""Blocks of a CSV parsed: typed cells are those read as text, and rows that are none keep their place and text."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from churn.feature import Feature
from churn.schema import Schema
from churn.tables import records
from churn.tables.cells import UNCLOSED, CellParser, RecordBlock, split_records
from churn.tables.csv_format import CsvFormat
from churn.tables.encode import encode_batch
from churn.tables.encoding import NOT_UTF8
from churn.tables.records import cut_records
from churn.tables.rows import Rows, encode_rows

SCHEMA = Schema(
    (
        Feature("age", "integer", minimum=0, maximum=130),
        Feature("money", "number", nullable=True),
        Feature("card", "flag", nullable=True),
        Feature("land", "category", categories=("France", "Spain")),
    ),
    "left",
    "id",
)
NAMES = ("id", *SCHEMA.names)


def write(rows: list[list[str]], quoting: Any = csv.QUOTE_MINIMAL, delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator="\n", delimiter=delimiter).writerows(rows)
    return text.getvalue().encode()


def parse(
    data: bytes, as_text: tuple[str, ...] = (), names: tuple[str, ...] = NAMES, delimiter: str = ",", **decimals: Any
) -> Rows:
    form = CsvFormat(names, delimiter, 0, 1, 1, decimals)
    cut = cut_records(data, delimiter.encode(), is_last=True)
    return CellParser(form, (*NAMES, *as_text), SCHEMA.features, as_text).parse(RecordBlock(data, cut.unclosed, 1))


texts = st.one_of(
    st.sampled_from(
        ["", "NA", " NA ", "NAN", "nan", "inf", "1_0", "?", " 7", "7.0", "7.5", "-3", "1e400", "\t8\t", "\uff18",
         "+7", "50.000", "1.234,5", "3,5", "12.5", "0.125", "1.000.000", "-0", "007"]
    ),
    st.sampled_from(["France", " Spain", "Mars", "yes", "No", "1", "0", "2", "true"]),
    st.floats(allow_nan=False).map(repr),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=3),
)  # fmt: skip


@example([["7", "NAN", "1", "France"]], ".")
@example([["?", "1", "1", "France"], ["-1", "", "yes", " Spain "]], "?")
@given(st.lists(st.lists(texts, min_size=4, max_size=4), min_size=1, max_size=5), st.sampled_from([".", ",", "?"]))
def test_typed_cells_are_judged_as_feature_judges_each_of_them(rows: list[list[str]], decimal: Any) -> None:
    decimals = dict.fromkeys(SCHEMA.names, decimal)
    data = write([["c", *row] for row in rows], csv.QUOTE_ALL)
    encoded = encode_rows(SCHEMA, parse(data, **decimals))
    wrong = []
    for number, row in enumerate(rows):
        for place, (feature, cell) in enumerate(zip(SCHEMA.features, row, strict=True)):
            try:
                expected = feature.parse(cell, decimal)
            except ValueError as error:
                wrong.append((number, feature.name, str(error)))
            else:
                assert encoded.wrong[number] or repr(expected + 0.0) == repr(float(encoded.raw[number, place]) + 0.0)
    assert [(one.row, one.field, one.reason) for one in encoded.violations] == wrong
    for one in encoded.violations:
        cell = rows[one.row][SCHEMA.names.index(one.field)].strip()
        assert one.sent == (None if one.reason == "is missing" else cell)


def test_rows_that_are_none_keep_their_place_and_text() -> None:
    rows = parse(b"a,1,2,1,Spain\n\nb,1,2\nc,1,2,1,Spain,x\nd,1,2,1,Spain\n")
    assert (rows.total, rows.places.tolist(), rows.batch.column("id").to_pylist()) == (4, [0, 3], ["a", "d"])  # type: ignore[union-attr]
    assert [(one.row, one.sent, one.reason, one.allowed) for one in rows.broken] == [
        (1, "b,1,2", "has 3 fields", "5 fields, as in the header"),
        (2, "c,1,2,1,Spain,x", "has 6 fields", "5 fields, as in the header"),
    ]
    assert rows.find_lines is not None
    assert rows.find_lines() == [1, 3, 4, 5]


@pytest.mark.parametrize("mark", ["", "\x1a"])
def test_a_line_with_an_open_quote_is_told_as_it_is_written(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_QUOTED", 30)
    lines = [f"{mark}{number},1,2,1,Spain\n" for number in range(9)]
    lines[3] = f'{mark},"é3,1,2,1,Spain\n'
    lines[5] = f"{mark}five\n"
    lines[8] = f'{mark},"end'
    rows = parse("".join(lines).encode())
    assert (rows.total, rows.places.tolist()) == (9, [0, 1, 2, 4, 6, 7])  # type: ignore[union-attr]
    assert [(one.row, one.sent, one.reason) for one in rows.broken] == [
        (3, f'{mark},"é3,1,2,1,Spain', UNCLOSED),
        (5, f"{mark}five", "has 1 field"),
        (8, f'{mark},"end', UNCLOSED),
    ]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
def test_records_of_a_block_are_the_same_in_smaller_blocks(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_QUOTED", 12)
    data = b'a,1,2,1,Spain\n\n"b\nb",1,2,1,France\nc,"1,2\n\nd,1\ne,1,2,1,Spain\nf,"1,2'
    cut = cut_records(data, b",", is_last=True)
    form = CsvFormat(NAMES, ",", 0, 1, 1, {})
    parser = CellParser(form, NAMES, SCHEMA.features)
    blocks = list(split_records(RecordBlock(data, cut.unclosed, 7), b",", most))
    assert b"".join(block.data for block in blocks) == data
    found = [parser.parse(block) for block in blocks]
    whole = parser.parse(RecordBlock(data, cut.unclosed, 7))
    assert [name for rows in found for name in rows.batch.column("id").to_pylist()] == ["a", "b\nb", "e"]
    assert whole.batch.column("id").to_pylist() == ["a", "b\nb", "e"]
    assert [one.sent for rows in found for one in rows.broken] == [one.sent for one in whole.broken]
    assert [line for rows in found if rows.find_lines for line in rows.find_lines()] == whole.find_lines()  # type: ignore[misc]
    assert max(rows.total for rows in found) <= most


def test_what_is_not_utf8_is_rejected_only_where_it_is_read() -> None:
    data = b"\xe9,1,2,1,Spain,x\nb,1,2,1,Sp\xe9in,x\nc,1,2,1,Spain,\xe9\nd,1,2\xe9\ne,1,2,1,Spain,x\n"
    rows = parse(data, ("note",), (*NAMES, "note"))
    assert [(one.row, one.field, one.sent, one.reason) for one in rows.broken] == [
        (0, "id", "\ufffd", NOT_UTF8),
        (1, "land", "Sp\ufffdin", NOT_UTF8),
        (2, "note", "\ufffd", NOT_UTF8),
        (3, "", "d,1,2\ufffd", "has 3 fields"),
    ]
    assert rows.batch.column("land").to_pylist() == ["Spain", "Sp\ufffdin", "Spain", "Spain"]
    assert [one.row for one in parse(data, names=(*NAMES, "note")).broken] == [0, 1, 3]


@pytest.mark.parametrize("before", [b"", b"a,1,2,1,Spain\n"])
def test_a_byte_order_mark_is_part_of_a_cell_wherever_it_is(before: bytes) -> None:
    rows = parse(before + b"\xef\xbb\xbfb,1,2,1,Spain\n\xef\xbb\xbf,1,2,1,Spain\n\xef\xbb\xbf")
    assert rows.batch.column("id").to_pylist()[-2:] == ["\ufeffb", "\ufeff"]
    assert [(one.sent, one.reason) for one in rows.broken] == [("\ufeff", "has 1 field")]
    [alone] = parse(b"\xef\xbb\xbf").broken
    assert (alone.row, alone.sent, alone.reason) == (0, "\ufeff", "has 1 field")


def test_blank_cells_that_are_handed_on_are_null_and_blank_lines_are_no_rows() -> None:
    rows = parse(b",1,2,1,Spain\n", ("land",))
    assert rows.batch.column("id").to_pylist() == [None]
    assert parse(b"\n\r\n \n").total == 1
    rows = parse(b"\n\r\n")
    assert (rows.total, rows.batch.schema.names) == (0, list(NAMES))


def test_a_column_that_is_wrong_once_is_told_as_it_is_written_and_read_on() -> None:
    form = CsvFormat(NAMES, ",", 0, 1, 1, {})
    parser = CellParser(form, NAMES, SCHEMA.features)
    for data in (b"a,1,2.50,1,Spain\n", b"a,900.0,2.50,1,Spain\n", b"a,1,2.50,1,Spain\n"):
        encoded = encode_rows(SCHEMA, parser.parse(RecordBlock(data)))
        assert [one.sent for one in encoded.violations] == (["900.0"] if b"900" in data else [])
        assert encoded.raw[0, 1] == 2.5
    assert encode_batch(SCHEMA, parser.parse(RecordBlock(b"a,1,2,1,Spain\n")).batch).raw.tolist() == [
        [1.0, 2.0, 1.0, 1.0]
    ]
