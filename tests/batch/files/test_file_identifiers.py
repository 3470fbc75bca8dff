"""Identifiers of files: whole numbers stay whole, UUIDs are text, and rows are numbered under a name of their own."""

from __future__ import annotations

import csv
import math
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from bank import draw_customers
from file_jobs import read, read_rejects, score
from pyarrow import parquet

from batch.chunk import score_schema
from churn.errors import TableError

if TYPE_CHECKING:
    from pathlib import Path

    from churn.scorer import Scorer

UUIDS = [uuid.UUID(int=number) for number in (1, 2, 3)]
FORMS = ("csv", "parquet", "arrow", "arrows")


def write(path: Path, column: Any = None, name: str = "CustomerId", **more: Any) -> Path:
    table = pa.Table.from_pandas(draw_customers(3), preserve_index=False).drop_columns("CustomerId")
    if column is not None:
        table = table.append_column(name, column)
    for other, cells in more.items():
        table = table.append_column(other, cells)
    parquet.write_table(table, path)
    return path


def read_texts(path: Path) -> list[dict[str, str | None]]:
    """Read scores with every cell as it is written."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [{name: cell or None for name, cell in row.items()} for row in csv.DictReader(file)]
    rows: list[dict[str, Any]] = read(path).to_pylist()
    return rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([12345678901.0, None, 7.0]), ["12345678901", None, "7"]),
        (pa.array([12345678901.0, 7.0, 7.0]).dictionary_encode(), ["12345678901", "7", "7"]),
        (pa.array([2**63, 1, 2], pa.uint64()), ["9223372036854775808", "1", "2"]),
        (pa.array(UUIDS, pa.uuid()), [str(one) for one in UUIDS]),
        (pa.array([one.bytes for one in UUIDS], pa.binary(16)), [str(one) for one in UUIDS]),
        (pa.array([b"a", b"b", b"c"]), ["a", "b", "c"]),
        (pa.array(["007", "1e3", None]), ["007", "1e3", None]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_identifiers_are_written_as_text(
    scorer: Scorer, tmp_path: Path, column: Any, texts: list[str | None], form: str
) -> None:
    score(scorer, write(tmp_path / "in.parquet", column), tmp_path / f"out.{form}")
    assert [row["CustomerId"] for row in read_texts(tmp_path / f"out.{form}")] == texts


@pytest.mark.parametrize("form", FORMS)
def test_uuids_are_passed_through_as_text(scorer: Scorer, tmp_path: Path, form: str) -> None:
    source = write(tmp_path / "in.parquet", pa.array([1, 2, 3]), household=pa.array(UUIDS, pa.uuid()))
    score(scorer, source, tmp_path / f"out.{form}", keep=("household",))
    assert [row["household"] for row in read_texts(tmp_path / f"out.{form}")] == [str(one) for one in UUIDS]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([[1], [2], [3]]), "in.parquet: the column CustomerId has the type list<element: int64>, which can't"),
        (pa.array([b"\xff", b"a", b"b"]), r"CustomerId has bytes that are not text \(binary\)"),
        (pa.array([b"\x01\x02"] * 3, pa.binary(2)), "CustomerId has bytes that are not text"),
    ],
)
def test_what_names_nobody_is_refused(scorer: Scorer, tmp_path: Path, column: Any, says: str) -> None:
    with pytest.raises(TableError, match=f"{says}.*allowed: texts, whole numbers or UUIDs"):
        score(scorer, write(tmp_path / "in.parquet", column), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        (None, ""),
        ("CustomerID", " Is it CustomerID? Then rename that column."),
        ("customer_id", " Is it customer_id? Then rename that column."),
        ("Custmer Id", " Is it Custmer Id? Then rename that column."),
        ("Branch", ""),
    ],
)
def test_row_numbers_have_a_name_of_their_own(
    scorer: Scorer, tmp_path: Path, form: str, name: str | None, hint: str
) -> None:
    column = None if name is None else pa.array([70, 80, 90])
    source = write(tmp_path / "in.parquet", column, name or "")
    summary = score(scorer, source, tmp_path / f"out.{form}")
    rows = read(tmp_path / f"out.{form}")
    assert rows.column_names == ["row", "probability", "churn", "model_version"]
    assert rows.column("row").to_pylist() == [1, 2, 3]
    assert rows.schema.field("row").type == pa.int64()
    [note] = summary["notes"]
    assert note.endswith(f" has no column CustomerId: the output identifies customers by row number, "
                         f"counted from 1, in the column row.{hint}")  # fmt: skip


def test_a_reject_without_identifier_has_none(scorer: Scorer, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet")
    table = parquet.read_table(path)
    table = table.set_column(table.column_names.index("Age"), "Age", pa.array([40.0, -5.0, 40.0]))
    parquet.write_table(table, path)
    score(scorer, path, tmp_path / "out.csv")
    [reject] = read_rejects(tmp_path / "out.csv.rejects")
    assert (reject["row"], reject["identifier"], reject["column"]) == (2, None, "Age")


@pytest.mark.parametrize(
    ("has_identifier", "name"),
    [(True, "CustomerId"), (True, "CUSTOMERID"), (False, "row"), (False, "ROW")],
)
def test_what_is_passed_through_is_not_called_as_what_names_customers(
    scorer: Scorer, tmp_path: Path, has_identifier: bool, name: str
) -> None:
    column = pa.array([1, 2, 3])
    more = {} if name == "CustomerId" else {name: column}
    source = write(tmp_path / "in.parquet", column if has_identifier else None, **more)
    with pytest.raises(TableError, match=f"--keep {name}: the output identifies customers by a column of this name"):
        score(scorer, source, tmp_path / "out.csv", keep=(name,))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("kept", "own"),
    [
        ("churn", "probability predicted_churn model_version"),
        ("Churn", "probability predicted_churn model_version"),
        ("churn predicted_churn", "probability predicted_predicted_churn model_version"),
        ("probability MODEL_VERSION", "predicted_probability churn predicted_model_version"),
    ],
)
def test_the_results_own_columns_make_room_for_those_passed_through(
    scorer: Scorer, tmp_path: Path, kept: str, own: str, ending: str
) -> None:
    keep, names = kept.split(), own.split()
    columns = {name: pa.array([position, position + 1, position + 2]) for position, name in enumerate(keep)}
    source = write(tmp_path / "in.parquet", pa.array([1, 2, 3]), **columns)
    score(scorer, source, tmp_path / f"plain.{ending}")
    summary = score(scorer, source, tmp_path / f"out.{ending}", keep=keep)
    plain, table = read(tmp_path / f"plain.{ending}"), read(tmp_path / f"out.{ending}")
    assert table.column_names == ["CustomerId", *keep, *names]
    for name, column in columns.items():
        assert table.column(name).to_pylist() == column.to_pylist()
    for name, renamed in zip(("probability", "churn", "model_version"), names, strict=True):
        assert [str(cell) for cell in table.column(renamed).to_pylist()] == [
            str(cell) for cell in plain.column(name).to_pylist()
        ]
    assert summary["scored"] == 3


@pytest.mark.parametrize("kept", ["churn", "CHURN", "churn predicted_churn", "probability churn model_version"])
@pytest.mark.parametrize("identifier", ["CustomerId", "predicted_churn", "Predicted_Probability", "PREDICTED_CHURN"])
def test_no_column_of_the_result_has_the_name_of_the_identifier(scorer: Scorer, identifier: str, kept: str) -> None:
    schema = replace(scorer.schema, identifier=identifier)
    others = [name for name in kept.split() if name.casefold() != identifier.casefold()]  # that one is refused
    names = score_schema(schema, [pa.field(name, pa.int64()) for name in others]).names
    assert len({name.casefold() for name in names}) == len(names)


def test_a_column_named_row_is_passed_through_where_customers_have_names(scorer: Scorer, tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", pa.array([1, 2, 3]), row=pa.array([7, 8, 9]))
    score(scorer, source, tmp_path / "out.parquet", keep=("row",))
    assert read(tmp_path / "out.parquet").column("row").to_pylist() == [7, 8, 9]


@pytest.mark.parametrize("number", [0.5, 2.0**63, -1e300, math.inf])
def test_a_float_that_names_nobody_is_rejected_by_row(scorer: Scorer, tmp_path: Path, number: float) -> None:
    summary = score(scorer, write(tmp_path / "in.parquet", pa.array([1.0, number, 3.0])), tmp_path / "out.csv")
    assert (summary["scored"], summary["reasons"]) == (2, {"CustomerId is not an identifier": 1})
    [reject] = read_rejects(tmp_path / "out.csv.rejects")
    assert (reject["row"], reject["column"], reject["reason"]) == (2, "CustomerId", "is not an identifier")
    assert float(reject["value"]) == number
    assert reject["allowed"].startswith("a text, or a whole number from -9223372036854775808 to ")
