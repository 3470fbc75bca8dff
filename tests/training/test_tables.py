from __future__ import annotations

import datetime as dt
import decimal
import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from churn.errors import TableError
from churn.feature import Feature, InvalidValueError
from churn.schema import Schema
from training.cells import as_numbers
from training.dataset import load_dataset
from training.tables import LISTED, Fault, Table, list_faults, read_table

if TYPE_CHECKING:
    from pathlib import Path


def read(tmp_path: Path, content: str | bytes, name: str = "bank.csv") -> Table:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path)


def cells(table: Table) -> list[dict[str, object]]:
    return list(pa.table(dict(table.columns)).to_pylist())


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,x\n2,y\n",
        b"a,b\n1,x\n2,y",
        b"a,b\r\n1,x\r\n2,y\r\n",
        b"a;b\n1;x\n2;y\n",
        b"\xef\xbb\xbfa,b\n1,x\n2,y\n",
        b"\xef\xbb\xbfa;b\r\n1;x\r\n2;y\r\n",
        b'"a","b"\n"1","x"\n"2","y"\n',
        b" a , b \n 1 , x \n 2 , y \n",
        b"\n\na,b\n\n1,x\n\n\n2,y\n\n",
    ],
    ids=["comma", "no last line end", "CRLF", "semicolon", "BOM", "all", "quoted", "spaces", "blank lines"],
)
def test_every_form_of_csv_says_the_same(tmp_path: Path, content: bytes) -> None:
    assert cells(read(tmp_path, content)) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]


def test_quoted_fields_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b\n"x, ""y""",1\n"two\nlines",2\n"three\r\nwhole\nlines",3\nz,4\n')
    assert [row["a"] for row in cells(table)] == ['x, "y"', "two\nlines", "three\r\nwhole\nlines", "z"]
    assert table.lines.tolist() == [2, 3, 5, 8]


def test_a_row_knows_its_line_after_blank_lines_and_a_tall_header(tmp_path: Path) -> None:
    table = read(tmp_path, '"a\nb",c\n\n1,2\n\n3,4\n')
    assert table.lines.tolist() == [4, 6]


def test_words_for_not_known_are_gaps_and_others_are_not(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b\n,1\nNA,1\nnan,1\nnull,1\n N/A ,1\n?,1\nnone at all,1\n")
    assert [row["a"] for row in cells(table)] == [None] * 5 + ["?", "none at all"]


def test_a_header_without_a_name_gets_one(tmp_path: Path) -> None:
    assert list(read(tmp_path, ",b\n0,1\n").columns) == ["column_1", "b"]


def test_lines_with_too_many_or_too_few_fields_are_faults_and_the_others_stay(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b,c\n1,2,3\n4,5;6\n"7\n7",8,9\n1,2,3,4\n"x,y",",","z"\n')
    assert table.faults == (
        Fault(3, "", "has 2 fields; allowed: 3 fields, as in the header"),
        Fault(6, "", "has 4 fields; allowed: 3 fields, as in the header"),
    )
    assert table.lines.tolist() == [2, 4, 7]
    assert [tuple(row.values()) for row in cells(table)] == [("1", "2", "3"), ("7\n7", "8", "9"), ("x,y", ",", "z")]


plain = st.text(alphabet='abé,;" \n', max_size=6)


@given(
    st.lists(st.lists(plain, min_size=3, max_size=3), min_size=1, max_size=6),
    st.sampled_from(",;"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_is_read_back_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], delimiter: str, line_end: str
) -> None:
    import csv

    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end)
        writer.writerow(["x", "y", "z"])
        writer.writerows(rows)
    table = read_table(path)
    found = [[cell or "" for cell in row.values()] for row in cells(table)]
    assert not table.faults
    assert len(table.lines) == len(rows)
    assert found == [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "bank.csv: it is empty, without a header"),
        (b" \n\n", "bank.csv: it is empty, without a header"),
        (b"\xef\xbb\xbf", "bank.csv: it is empty, without a header"),
        (b"a,b\n", "bank.csv: the table has a header and no rows"),
        (b"a,b\n\xe9,1\n", "bank.csv: no line can be used:\n  line 2, column a: '\ufffd' is not UTF-8 text"),
        (b"a,b,a\n1,2,3\n", "bank.csv: columns occur twice: a; found: a, "),
        (b"a, a\n1,2\n", "bank.csv: columns occur twice: a; found: a, "),
        ("a,b\n1,2\n".encode("utf-16-le"), "bank.csv: it is UTF-16 without a byte-order mark"),
        (b"a,b\n1;2\n3;4\n", "bank.csv: no line can be used:\n  line 2: has 1 field; allowed: 2 fields"),
        (b'a,b\n1,"2\n', "bank.csv: no line can be used:\n  line 2: has a quote that does not close"),
        (b'a,b\n1,"' + b"2" * 200_000, "bank.csv: no line can be used:\n  line 2: has a quote that does not close"),
    ],
)
def test_a_csv_that_can_not_be_understood_is_refused_with_the_place(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(TableError) as refusal:
        read(tmp_path, content)
    assert says in str(refusal.value)


def test_a_file_that_is_absent_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no.csv: there is no such file"):
        read_table(tmp_path / "no.csv")
    with pytest.raises(TableError, match=r"bank.xlsx: unknown kind of file; allowed: .csv, .txt, .parquet, .pq"):
        read(tmp_path, b"PK", "bank.xlsx")
    with pytest.raises(TableError, match=r"bank.parquet: can't be read: "):
        read(tmp_path, b"PAR1", "bank.parquet")


def test_the_files_hash_is_kept(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b\n1,2\n")
    assert table.sha256 == hashlib.sha256(table.path.read_bytes()).hexdigest()


def write_parquet(path: Path, **columns: pa.Array) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


def test_parquet_columns_become_numbers_or_text(tmp_path: Path) -> None:
    day = dt.date(2020, 5, 1)
    table = read_table(
        write_parquet(
            tmp_path / "typed.parquet",
            whole=pa.array([1, None], pa.int32()),
            number=pa.array([1.5, float("nan")]),
            flag=pa.array([True, None]),
            decimal=pa.array([decimal.Decimal("1.25"), None]),
            words=pa.array([" a ", "NA"]),
            large=pa.array(["b", None], pa.large_string()),
            category=pa.array(["c", None]).dictionary_encode(),
            numbers=pa.array([7, None]).dictionary_encode(),
            day=pa.array([day, None]),
            moment=pa.array([dt.datetime(2020, 5, 1, 12), None]),
            nothing=pa.nulls(2),
            blob=pa.array([b"\xff", None]),
            listed=pa.array([[1, 2], None]),
        )
    )
    assert cells(table) == [
        {
            "whole": 1.0,
            "number": 1.5,
            "flag": "true",
            "decimal": 1.25,
            "words": "a",
            "large": "b",
            "category": "c",
            "numbers": 7.0,
            "day": "2020-05-01",
            "moment": "2020-05-01 12:00:00",
            "nothing": None,
            "blob": "b'\\xff'",
            "listed": "[1, 2]",
        },
        dict.fromkeys(table.columns),
    ]
    assert table.lines.tolist() == [1, 2]


def test_a_frame_written_by_pandas_is_read_without_its_index(tmp_path: Path) -> None:
    path = tmp_path / "frame.parquet"
    frame = pd.DataFrame({"a": pd.Categorical(["x", None]), "b": pd.array([1, None], "Int64")}, index=[5, 9])
    frame.to_parquet(path)
    assert cells(read_table(path)) == [{"a": "x", "b": 1.0}, {"a": None, "b": None}]
    frame.rename_axis("CustomerId").to_parquet(path)
    assert cells(read_table(path))[1] == {"a": None, "b": None, "CustomerId": 9}


def test_a_parquet_header_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.parquet"
    parquet.write_table(pa.table([pa.array([1]), pa.array([2])], ["a", "a"]), path)
    with pytest.raises(TableError, match=r"twice.parquet: columns occur twice: a"):
        read_table(path)


def test_only_the_first_faults_are_listed_in_the_order_of_the_file() -> None:
    faults = [Fault(line, "x", "is odd") for line in range(LISTED + 3, 0, -1)]
    lines = list_faults(faults).split("\n")
    assert lines[0] == "  line 1, column x: is odd"
    assert lines[-1] == "  … and 3 more"
    assert len(lines) == LISTED + 1
    assert list_faults([Fault(4, "", "is short")]) == "  line 4: is short"


@given(
    st.one_of(
        st.floats().map(repr),
        st.integers().map(str),
        st.text(alphabet="0123456789+-.eE_x infatyINFNAN٣", min_size=1, max_size=8),
    )
)
def test_a_cell_is_a_number_in_a_table_exactly_if_it_is_one_alone(text: str) -> None:
    text = text.strip()
    numbers, wrong = as_numbers(pa.array([text, "1"]))
    try:
        alone = Feature("x", "number").parse(text) if text else None
    except InvalidValueError as error:
        alone = None
        if str(error).startswith("is beyond"):
            assert abs(numbers[0]) > 1e15
            return
    assert wrong[0] == (alone is None)
    if alone is not None:
        assert numbers[0] == alone


def test_numbers_are_read_from_text() -> None:
    numbers, wrong = as_numbers(pa.array(["1.5", "1e3", "?", None, "inf", "12345678901234567890"]))
    assert repr(numbers.tolist()) == repr([1.5, 1000.0, np.nan, np.nan, np.nan, 12345678901234567890.0])
    assert wrong.tolist() == [False, False, True, False, True, False]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("Visits", r"columns hold what can't be scored: Visits \(list<.*>\)"),
        ("CustomerId", r"CustomerId \(list<.*>\) can't name"),
    ],
)
def test_columns_of_types_that_can_not_be_scored_are_refused(
    tmp_path: Path, column: str, says: str, *, stream: bool
) -> None:
    from training.streaming.spread import Split, open_streamed

    cells = pa.array([[number % 7] for number in range(200)])
    table = pa.table({"CustomerId": np.arange(200), "Age": np.arange(200) % 50, "Exited": np.arange(200) // 5 % 2})
    path = write_parquet(
        tmp_path / "odd.parquet", **{name: table.column(name) for name in table.column_names} | {column: cells}
    )
    schema = Schema(
        (Feature("Age", "integer"), *([Feature("Visits", "number")] if column == "Visits" else [])), "Exited"
    )

    def load() -> object:
        if stream:
            return open_streamed(path, Split(0.2, 0.1, 0), scratch=tmp_path, schema=schema).__enter__()
        return load_dataset(path, schema=schema)

    with pytest.raises(TableError, match=says):
        load()
