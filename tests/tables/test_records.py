"""Records are found as Python's own CSV reader finds them, wherever the text is cut; open quotes are told."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn.tables import records
from churn.tables.records import Cut, count_lines, cut_records, find_first_end, find_lines

PIECES = st.sampled_from(["a", "b", ",", ";", '"', '""', "\n", "\r\n", "\r", '"a\nb"', '"a\rb"', '"",', ' "', "ä"])
TEXTS = st.lists(PIECES, max_size=20).map("".join)


def read(text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return each record with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    found, line = [], 1
    for record in reader:
        if record:
            found.append((line, record))
        line = reader.line_num + 1
    return found


def read_in_pieces(data: bytes, size: int, delimiter: bytes) -> list[tuple[int, Any]]:
    """Return each record with the line it begins on; None for a line with a quote that does not close."""
    found: list[tuple[int, Any]] = []
    rest, line = b"", 1
    for start in range(0, len(data) + size, size):
        rest += data[start : start + size]
        cut = cut_records(rest, delimiter, is_last=start + size > len(data))
        block, rest = rest[: cut.end], rest[cut.end :]
        lines = find_lines(block, delimiter, line)
        opened = [line + count_lines(block[:start]) for start, _ in cut.unclosed]
        assert {*opened} <= {*lines}
        known = iter([one for _, one in read(records.drop_lines(block, cut.unclosed).decode(), delimiter.decode())])
        found += [(one, None if one in opened else next(known)) for one in lines]
        assert next(known, None) is None
        line += count_lines(block)
    assert rest == b""
    return found


@settings(max_examples=1000, deadline=None)
@given(text=TEXTS, size=st.integers(1, 12), delimiter=st.sampled_from(",;"))
@example(text='"a\nb"\r', size=1, delimiter=",")
@example(text='"a""\n', size=5, delimiter=",")
@example(text='a,"b\r\nc"\r\rd', size=2, delimiter=",")
def test_a_text_cut_anywhere_has_the_records_of_the_whole(text: str, size: int, delimiter: str) -> None:
    data, mark = text.encode(), delimiter.encode()
    found = read_in_pieces(data, size, mark)
    assert found == read_in_pieces(data, len(data) + 1, mark)
    if None not in [one for _, one in found]:
        assert found == read(text, delimiter)


@settings(max_examples=500, deadline=None)
@given(text=TEXTS)
def test_the_quick_way_and_the_careful_way_find_the_same_fields(text: str) -> None:
    data = text.encode()
    for is_last in (False, True):
        quick, careful = records.find_quoted(data, b",", is_last=is_last), records._scan(data, b",", is_last=is_last)
        ends = [place for place, octet in enumerate(data) if octet in b"\r\n"]
        assert quick.unclosed == careful.unclosed
        assert [quick.encloses(place) or place >= quick.stop for place in ends] == [
            careful.encloses(place) or place >= careful.stop for place in ends
        ]


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_the_first_record_is_found(text: str) -> None:
    data = text.encode()
    end = find_first_end(data, b",")
    if end:
        assert list(csv.reader(io.StringIO(data[:end].decode(), newline=""))) == [
            next(csv.reader(io.StringIO(text, newline="")))
        ]
    else:
        assert cut_records(data, b",").end == 0


cells = st.text(st.sampled_from('ab,;"\n é'), max_size=5)  # Python's writer puts no quotes around a lone \\r


def write(rows: list[list[str]], quoting: Any = csv.QUOTE_MINIMAL, end: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue().encode()


@given(
    st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=8),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.data(),
)
def test_a_file_is_cut_where_records_end(rows: list[list[str]], quoting: Any, end: str, data: Any) -> None:
    written = write(rows, quoting, end)
    ends = [0, *np.cumsum([len(write([row], quoting, end)) for row in rows]).tolist()]
    size = data.draw(st.integers(0, len(written)))
    assert cut_records(written[:size], b",") == Cut(max(at for at in ends if at <= size))
    assert cut_records(written, b",", is_last=True) == Cut(len(written))


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b'1,5" pipe,2\n3,4" tube\n5', 22),
        (b'1,"a"b\n"c\nd",2\n3', 15),
        (b'"a""\n"",",2\n3,"b', 12),
        (b'1, "a\n2', 6),
        (b'1,"a\rb"\r"c\r', 8),
        (b"a\nb", 2),
        (b"a\r\nb\r", 3),
        (b"ab", 0),
    ],
)
def test_a_quote_opens_a_field_only_where_one_begins(data: bytes, end: int) -> None:
    assert cut_records(data, b",") == Cut(end)


def test_a_quote_that_does_not_close_costs_its_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LONGEST_QUOTED", 30)
    rest = b"".join(b"%d,x\n" % number for number in range(20))
    data = b'1,"a\nb"\n2,"Smith\n' + rest
    assert cut_records(data, b",") == Cut(len(data), ((8, 17),))
    assert cut_records(data[:20], b",") == Cut(8)  # it may close yet
    assert cut_records(data[:20], b",", is_last=True) == Cut(20, ((8, 17),))
    assert cut_records(b'1,2\n3,"4', b",", is_last=True) == Cut(8, ((4, 8),))
