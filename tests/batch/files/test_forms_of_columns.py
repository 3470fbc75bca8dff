"""Files that hold columns, as other programs write them: encodings, dates, streams behind one another, odd types."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from bank import draw_customers
from file_jobs import read, score
from pyarrow import ipc, parquet

from churn.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

CUSTOMERS = pa.Table.from_pandas(draw_customers(300, seed=3), preserve_index=False)


@pytest.fixture(scope="module")
def expected(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("plain")
    parquet.write_table(CUSTOMERS, folder / "plain.parquet")
    score(scorer, folder / "plain.parquet", folder / "scores.arrow")
    return read(folder / "scores.arrow").to_pylist()


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
def test_parquet_is_read_however_its_texts_are_stored(
    scorer: Scorer, expected: Any, tmp_path: Path, encoding: str
) -> None:
    texts = dict.fromkeys(["Geography", "Gender", "Surname"], encoding)
    parquet.write_table(CUSTOMERS, tmp_path / "c.parquet", use_dictionary=False, column_encoding=texts)
    score(scorer, tmp_path / "c.parquet", tmp_path / "scores.arrow", keep=("Gender",))
    rows = read(tmp_path / "scores.arrow").to_pylist()
    assert [row.pop("Gender") for row in rows] == CUSTOMERS.column("Gender").to_pylist()
    assert rows == expected


def write_stream(*tables: pa.Table) -> bytes:
    data = b""
    for table in tables:
        sink = pa.BufferOutputStream()
        with ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
        data += sink.getvalue().to_pybytes()
    return data


WHOLE = write_stream(CUSTOMERS)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (write_stream(CUSTOMERS, CUSTOMERS), f"the stream ends at byte {len(WHOLE)}, and more bytes follow"),
        (WHOLE + b"\n", f"the stream ends at byte {len(WHOLE)}, and more bytes follow"),
        (WHOLE[:-8], "the stream has no end marker"),
        (WHOLE[:-4], "can't be read|no end marker"),
        (WHOLE[:-200], "can't be read"),
    ],
)
@pytest.mark.parametrize("by_pipe", [False, True])
def test_a_stream_ends_where_its_file_does(
    scorer: Scorer, tmp_path: Path, data: bytes, says: str, *, by_pipe: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.arrows"
    path.write_bytes(data)
    source: Any = path
    chosen: dict[str, Any] = {}
    if by_pipe:
        stdin = path.open("rb")
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
        source, chosen = "-", {"input_format": "arrows"}
    with pytest.raises(TableError, match=says):
        score(scorer, source, tmp_path / "scores.csv", **chosen)
    if by_pipe:
        stdin.close()
    assert not (tmp_path / "scores.csv").exists()


def write_file(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_file(sink, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=100)
    return sink.getvalue().to_pybytes()


FIXED = CUSTOMERS.set_column(  # in which a file of as many rows has as many bytes, and is read where the other one is
    CUSTOMERS.schema.get_field_index("Surname"), "Surname", pa.array(["Hargrave"] * 300)
)


@pytest.mark.parametrize("others", [1, 2])
def test_arrow_files_behind_one_another_are_refused(scorer: Scorer, tmp_path: Path, others: int) -> None:
    (tmp_path / "c.arrow").write_bytes(write_file(FIXED) * (1 + others))
    with pytest.raises(TableError, match="bytes of the file belong to no batch, as if several files had been joined"):
        score(scorer, tmp_path / "c.arrow", tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.parametrize("rows", [0, 1, 300])
@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}, {"compression": "lz4"}])
@pytest.mark.parametrize("dictionaries", [False, True])
def test_every_batch_of_an_arrow_file_is_read(
    scorer: Scorer, tmp_path: Path, rows: int, options: dict[str, Any], *, dictionaries: bool
) -> None:
    table = CUSTOMERS.slice(0, rows)
    for name in ("Geography", "Gender") if dictionaries else ():
        table = table.set_column(table.schema.get_field_index(name), name, table.column(name).dictionary_encode())
    (tmp_path / "c.arrow").write_bytes(write_file(table.unify_dictionaries(), **options))
    assert score(scorer, tmp_path / "c.arrow", tmp_path / "scores.csv")["scored"] == rows


def test_a_stream_by_a_pipe_is_read(
    scorer: Scorer, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.arrows").write_bytes(WHOLE)
    with (tmp_path / "c.arrows").open("rb") as stdin:
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": stdin}))
        score(scorer, "-", tmp_path / "scores.arrow", input_format="arrows")
    assert read(tmp_path / "scores.arrow").to_pylist() == expected


def test_columns_of_types_that_can_not_be_read_are_named(scorer: Scorer, tmp_path: Path) -> None:
    table = CUSTOMERS.set_column(CUSTOMERS.schema.get_field_index("Age"), "Age", pa.array([[1]] * 300))
    parquet.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(TableError, match=r"parquet: the column Age has the type list<.*>; allowed: numbers, boo"):
        score(scorer, tmp_path / "c.parquet", tmp_path / "scores.csv")


def test_dates_are_their_iso_texts(scorer: Scorer, tmp_path: Path) -> None:
    days = pa.array([dt.date(2020, 5, 1)] * 300)
    table = CUSTOMERS.set_column(CUSTOMERS.schema.get_field_index("Geography"), "Geography", days)
    parquet.write_table(table, tmp_path / "c.parquet")
    summary = score(scorer, tmp_path / "c.parquet", tmp_path / "scores.csv")
    assert summary["reasons"] == {"Geography is an unknown category": 300}
    assert "2020-05-01" in (tmp_path / "scores.csv.rejects").read_text()
