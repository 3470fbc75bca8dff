"""How a CSV is written is found out by its first bytes, or told what was tried."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn.errors import TableError
from churn.feature import Feature
from churn.numerals import find_decimal, read_number
from churn.tables import csv_format
from churn.tables.csv_format import CsvFormat, find_csv_format
from churn.tables.encoding import find_encoding


def find(text: str | bytes, **chosen: Any) -> CsvFormat:
    found = find_csv_format(text.encode() if isinstance(text, str) else text, is_whole=True, **chosen)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "delimiter", "line"),
    [
        ("a,b\n1,2\n", ",", 1),
        ("a;b\n1;2\n", ";", 1),
        ("a\tb\n1\t2\n", "\t", 1),
        ("a|b\n1|2\n", "|", 1),
        ("a\n1\n", ",", 1),
        ('"a,x";"b,y,z"\n1;2\n', ";", 1),
        ('"a\nx";b\n1;2\n', ";", 1),
        ("a;b;c,d\n1;2;3\n", ";", 1),
        ("a, x;b;c, d, e\n1;2;3\n", ";", 1),
        ("a, x;b;c, d, e\n", ",", 1),
        ("\n \r\n\ra;b\n1;2\n", ";", 4),
        ("sep=|\na|b\n", "|", 2),
        ("SEP=;\r\n\r\na,b;c\n", ";", 3),
        ("# a, b and c\na;b\n1;2\n", ";", 2),
        ("#\n# x\n\na;b\n1;2\n", ";", 4),
        ("#a,b\n1,2\n", ",", 1),
    ],
)
def test_the_separator_and_the_header_are_found(text: str, delimiter: str, line: int) -> None:
    found = find(text)
    assert (found.delimiter, found.header_line) == (delimiter, line)
    assert text.encode()[: found.start].endswith((b"\n", b"\r"))
    assert find(text.replace("\n", "\r\n")).names == found.names or '"' in text


def test_rows_need_not_be_utf8() -> None:
    assert find(b"a;b\n\xe9;2\n").names == ("a", "b")
    assert find(b"a;b\n\xe9;1,5\n").decimals == {"b": ","}


def test_the_wanted_columns_decide_on_the_separator() -> None:
    text = "first,second;x,y;z\n1;2\n"
    assert find(text).delimiter == ","
    assert find(text, wanted=["x,y", "z"]).delimiter == ";"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "it is empty, without a header"),
        (b"\n \n", "it is empty, without a header"),
        (b" , \n", "line 1 should be the header, but has only empty fields"),
        (b'\n"a,b\n1,2\n', "line 2: the header has a quote that does not close"),
        (b"a\xe9\n1\n", "line 1: the header is not UTF-8: byte 1"),
    ],
)
def test_a_header_that_can_not_be_read_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(TableError, match=says):
        find(text)


def test_columns_and_separators_are_told() -> None:
    told = find("a:b:c\n").described
    assert told == "a:b:c (line 1, read with the separator comma; tried: comma, semicolon, tab, pipe)"
    assert find(",".join(f"c{number}" for number in range(99))).described.startswith("c0, c1, c2")


@pytest.mark.parametrize("text", ["a;b\n1;2\n", '"a\nb";c\n', "sep=;\na;b\n", "# x\na;b\n1;2\n", "\n\na|b\n"])
def test_a_head_that_ends_too_early_is_not_guessed_at(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_format, "SAMPLE_BYTES", 3)
    whole = find(text)
    for size in range(whole.start):
        assert find_csv_format(text.encode()[:size], is_whole=False) is None
    rest = text.encode() + b"1;2\n1;2\n"
    assert find_csv_format(rest, is_whole=False) == find(rest)


@pytest.mark.parametrize(("head", "name"), [("a", "utf-8"), ("\ufeffa", "utf-8")])
def test_utf8_is_found(head: str, name: str) -> None:
    assert find_encoding(head.encode()) == (name, len(head.encode()) - 1)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-16-le", "utf-16-be"])
def test_what_is_not_utf8_and_has_no_mark_is_refused(encoding: str) -> None:
    with pytest.raises(TableError, match="allowed: UTF-8, or UTF-16 with a byte-order mark"):
        find_encoding("a,b".encode(encoding)[:4])


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (["1", "20"], None),
        (["1.5", "50.000"], "."),
        (["1,5", "50.000"], ","),
        (["1.234,5"], ","),
        (["1.234.567,5", "x"], ","),
        (["0,125"], ","),
        (["0.125"], "."),
        (["1234,567"], ","),
        (["50.000", "50,000", "1.000.000"], None),
        (["1,5", "1.5"], "?"),
    ],
)
def test_a_decimal_mark_is_known_by_cells_that_can_have_no_other(cells: list[str], decimal: str | None) -> None:
    assert find_decimal(cells) == decimal


@pytest.mark.parametrize(
    ("text", "decimals"),
    [
        ("a,b\n1.5,50.000\n", {}),
        ("a,b\n1,50.000\n", {}),
        ("a;b\n1;50.000\n", {"a": "?", "b": "?"}),
        ("a;b\n1.5;50.000\n", {}),
        ("a;b\n1,5;50.000\n", {"a": ",", "b": ","}),
        ('a,b\n"1,5","50.000"\n', {"a": ",", "b": ","}),
        ("a;b;c\n1,5;2.5;50.000\n", {"a": ",", "c": "?"}),
        ("a;b\n1,5;2\n1.5;x\n", {"a": "?"}),
        ("a;b\nx;1,5\ny;2\n", {"b": ","}),
    ],
)
def test_a_column_that_does_not_tell_is_written_as_the_others_are(text: str, decimals: dict[str, str]) -> None:
    assert find(text).decimals == decimals
    assert find(text, decimal=".").decimals == {}
    assert set(find(text, decimal=",", numeric=["a"]).decimals.items()) == {("a", ",")}


def test_an_unknown_decimal_mark_is_refused() -> None:
    with pytest.raises(TableError, match=r"decimal is ';'; allowed: \. or ,"):
        find("a\n", decimal=";")


@given(st.floats(allow_nan=False, allow_infinity=False).map(lambda number: round(number % 1e9, 3)))
def test_a_number_is_the_same_with_a_decimal_comma(number: float) -> None:
    point = f"{number:.3f}"
    comma = f"{number:,.3f}".translate(str.maketrans(",.", ".,"))
    assert read_number(comma, ",") == read_number(point.replace(".", ","), ",") == read_number(point, ".")
    assert Feature("x", "number").parse(f" {comma} ", ",") == float(point)


@pytest.mark.parametrize("text", ["1.5", "12.34", "1.2345", "1,2,3", "1.234.56", ",", ".", "1.000,0.0", "1 000,5"])
def test_what_has_no_decimal_comma_is_refused_where_there_should_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        read_number(text, ",")
