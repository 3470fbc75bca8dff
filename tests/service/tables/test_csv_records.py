"""Records are found as Python's own CSV reader finds them, wherever the text is cut."""

from __future__ import annotations

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.tables.csv_records import count_lines, find_end, find_first_end, find_lines, is_open

PIECES = st.sampled_from(["a", "b", ",", ";", '"', '""', "\n", "\r\n", "\r", '"a\nb"', '"",', ' "', "ä"])
TEXTS = st.lists(PIECES, max_size=20).map("".join)


def read(text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """Return each record with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records, line = [], 1
    for record in reader:
        if record:
            records.append((line, record))
        line = reader.line_num + 1
    return records


@settings(max_examples=500, deadline=None)
@given(text=TEXTS, size=st.integers(1, 12), delimiter=st.sampled_from(",;"))
@example(text='"a\nb"\r', size=1, delimiter=",")
@example(text='"a""\n', size=5, delimiter=",")
def test_a_text_cut_anywhere_has_the_records_of_the_whole(text: str, size: int, delimiter: str) -> None:
    data, mark = text.encode(), delimiter.encode()
    records: list[tuple[int, list[str]]] = []
    rest, line = b"", 1
    for start in range(0, len(data) + size, size):
        rest += data[start : start + size]
        end = len(rest) if start + size >= len(data) + 1 else find_end(rest, mark)
        block, rest = rest[:end], rest[end:]
        found = [record for _, record in read(block.decode(), delimiter)]
        records += zip(find_lines(block, mark, line), found, strict=True)
        line += count_lines(block)
    assert rest == b""
    assert records == read(text, delimiter)


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
        assert find_end(data, b",") == 0


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_an_open_quote_is_seen(text: str) -> None:
    data = text.encode()
    record = data[find_end(data, b",") :]
    # A quote closes what is open and opens nothing: then a line end behind it ends the record.
    closed = find_end(record + b'"\n', b",") == len(record) + 2
    ended = find_end(record + b"\n", b",") == len(record) + 1
    assert is_open(record, b",") == (not ended)
    assert closed or not is_open(record, b",")
