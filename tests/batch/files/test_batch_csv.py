"""CSV files cut into records and parsed: held against Python's own reader, and against cells read as text."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch.chunk import MALFORMED
from batch.columns import Columns
from batch.files import csv_records
from batch.files.csv_parse import NOT_UTF8, UNCLOSED, CsvBlock, CsvParser
from batch.files.csv_records import Cut, count_records, cut_records
from batch.files.standard_streams import StandardInput
from churn.arrow import encode_batch
from churn.schema import Feature, Schema

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
NAMES = ["id", *SCHEMA.names]

cells = st.text(st.sampled_from('ab,;"\n\r é'), max_size=5)
tables = st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=8)


def write(rows: list[list[str]], quoting: Any = csv.QUOTE_MINIMAL, end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@given(tables, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]), st.data())
def test_a_file_is_cut_where_records_end(rows: list[list[str]], quoting: Any, end: str, data: Any) -> None:
    written = write(rows, quoting, end)
    ends = [0, *np.cumsum([len(write([row], quoting, end)) for row in rows]).tolist()]
    size = data.draw(st.integers(0, len(written)))
    assert cut_records(written[:size], b",") == Cut(max(at for at in ends if at <= size))
    assert cut_records(written, b",", is_last=True) == Cut(len(written))
    assert count_records(written) == len(rows)


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b'1,5" pipe,2\n3,4" tube\n5', 22),
        (b'1,"a"b\n"c\nd",2\n3', 15),
        (b'"a""\n"",",2\n3,"b', 12),
        (b'1, "a\n2', 6),
        (b"a\nb", 2),
        (b"ab", 0),
    ],
)
def test_a_quote_opens_a_field_only_where_one_begins(data: bytes, end: int) -> None:
    assert cut_records(data, b",") == Cut(end)


def test_a_quote_that_does_not_close_costs_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "LONGEST_QUOTED", 30)
    rest = b"".join(b"%d,x\n" % number for number in range(20))
    data = b'1,"a\nb"\n2,"Smith\n' + rest
    assert cut_records(data, b",") == Cut(len(data), ((8, 17),))
    assert cut_records(data[:20], b",") == Cut(8)  # it may close yet
    assert cut_records(data[:20], b",", is_last=True) == Cut(20, ((8, 17),))
    assert cut_records(b'1,2\n3,"4', b",", is_last=True) == Cut(8, ((4, 8),))


def parse(data: bytes, keep: tuple[str, ...] = (), header: list[str] = NAMES) -> Any:
    columns = Columns("t.csv", pa.schema([(name, pa.string()) for name in header]), SCHEMA, keep)
    cut = cut_records(data, b",", is_last=True)
    return CsvBlock(CsvParser(header, columns, ",", StandardInput()), data, cut.unclosed)


texts = st.one_of(
    st.sampled_from(
        ["", "NA", " NA ", "NAN", "nan", "inf", "1_0", "?", " 7", "7.0", "7.5", "-3", "1e400", "\t8\t", "\uff18"]
    ),
    st.sampled_from(["France", " Spain", "Mars", "yes", "No", "1", "0", "2", "true"]),
    st.floats(allow_nan=False).map(repr),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=3),
)


@example([["7", "NAN", "1", "France"]])
@example([["?", "1", "1", "France"], ["-1", "", "yes", " Spain "]])
@given(st.lists(st.lists(texts, min_size=4, max_size=4), min_size=1, max_size=5))
def test_numbers_read_at_once_are_those_read_as_text(rows: list[list[str]]) -> None:
    block = parse(write([["c", *row] for row in rows], csv.QUOTE_ALL))
    found = block.parse()
    encoded = encode_batch(SCHEMA, found.batch)
    again = block.parse_again({bad.field for bad in encoded.violations if bad.sent is not None})
    if again:
        encoded = encode_batch(SCHEMA, again.batch)
    plain = pa.record_batch([pa.array(column, pa.string()) for column in zip(*rows, strict=True)], SCHEMA.names)
    expected = encode_batch(SCHEMA, plain)
    assert encoded.violations == expected.violations
    fine = ~expected.wrong
    assert repr(encoded.raw[fine].tolist()) == repr(expected.raw[fine].tolist())


def test_rows_that_are_none_keep_their_place_and_text() -> None:
    block = parse(b"a,1,2,1,Spain\n\nb,1,2\nc,1,2,1,Spain,x\nd,1,2,1,Spain\n")
    rows = block.parse()
    assert (rows.total, rows.places.tolist(), rows.batch.column("id").to_pylist()) == (4, [0, 3], ["a", "d"])
    assert [(row["row"], row["value"], row["reason"], row["allowed"]) for row in rows.rejects.to_pylist()] == [
        (1, "b,1,2", MALFORMED, "5 fields"),
        (2, "c,1,2,1,Spain,x", MALFORMED, "5 fields"),
    ]


def test_a_line_with_an_open_quote_is_told_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_records, "LONGEST_QUOTED", 30)
    lines = [f"{number},1,2,1,Spain\n" for number in range(9)]
    lines[3] = '"é3,1,2,1,Spain\n'
    lines[5] = "five\n"
    rows = parse("".join(lines).encode()).parse()
    assert (rows.total, rows.places.tolist()) == (9, [0, 1, 2, 4, 6, 7, 8])
    assert [(row["row"], row["value"], row["reason"]) for row in rows.rejects.to_pylist()] == [
        (3, '"é3,1,2,1,Spain', UNCLOSED),
        (5, "five", MALFORMED),
    ]


def test_what_is_not_utf8_is_rejected_only_where_it_is_handed_on() -> None:
    data = b"\xe9,1,2,1,Spain,x\nb,1,2,1,Sp\xe9in,x\nc,1,2,1,Spain,\xe9\nd,1,2\xe9\ne,1,2,1,Spain,x\n"
    rows = parse(data, ("note",), [*NAMES, "note"]).parse()
    assert (rows.total, rows.places.tolist()) == (5, [1, 4])
    assert [(row["row"], row["column"], row["value"], row["reason"]) for row in rows.rejects.to_pylist()] == [
        (0, "id", "\ufffd", NOT_UTF8),
        (2, "note", "\ufffd", NOT_UTF8),
        (3, None, "d,1,2\ufffd", MALFORMED),
    ]
    assert rows.batch.column("land").to_pylist() == ["Sp\ufffdin", "Spain"]
    assert parse(data, header=[*NAMES, "note"]).parse().places.tolist() == [1, 2, 4]


def test_blank_cells_that_are_handed_on_are_null_and_blank_lines_are_no_rows() -> None:
    rows = parse(b",1,2,1,Spain\n", ("land",)).parse()
    assert rows.batch.column("id").to_pylist() == [None]
    assert parse(b"\n\r\n \n").parse().total == 1
    rows = parse(b"\n\r\n").parse()
    assert (rows.total, rows.batch.schema.names) == (0, NAMES)
