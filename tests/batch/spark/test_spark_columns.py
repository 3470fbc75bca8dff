"""What Spark makes of columns' names, folders and identifiers: the same as one machine does."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from bank import draw_customers
from file_jobs import read
from file_jobs import score as score_here
from pyarrow import csv, dataset, parquet
from spark_sessions import spark_session

from churn.feature import Feature
from churn.schema import Schema
from churn.scorer import load_scorer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from churn.scorer import Scorer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with spark_session() as session:
        yield session


def score(spark: Any, models: Path, source: Path, output: Path, **chosen: Any) -> tuple[dict[str, Any], pa.Table]:
    from batch.spark.job import SparkJob, score_table

    summary = score_table(spark, models / "1", "onnx", SparkJob(str(source), str(output), **chosen))
    form = "csv" if output.suffix == ".csv" else "parquet"
    files = sorted(str(path) for path in output.glob(f"*.{form}"))
    if form == "parquet":
        return summary, dataset.dataset(files, format="parquet").to_table()
    types = {name: pa.string() for name in ("CustomerId", "branch", "model_version")}
    parts = [csv.read_csv(file, convert_options=csv.ConvertOptions(column_types=types)) for file in files]
    return summary, pa.concat_tables([part for part in parts if len(part)])


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_folders_tell_stays_text(spark: Any, models: Path, scorer: Scorer, tmp_path: Path, form: str) -> None:
    table = pa.Table.from_pandas(draw_customers(4), preserve_index=False)
    for number, branch in enumerate(("007", "1e3", "2020-01-01", "a%20b")):
        folder = tmp_path / "in" / f"branch={branch}"
        folder.mkdir(parents=True)
        part = table.slice(number, 1)
        csv.write_csv(part, folder / "a.csv") if form == "csv" else parquet.write_table(part, folder / "a.parquet")
    source = tmp_path / "in" / "*" / "*.csv" if form == "csv" else tmp_path / "in"
    score_here(scorer, tmp_path / "in", tmp_path / "here.parquet", keep=("branch",))
    here = {row["CustomerId"]: row for row in read(tmp_path / "here.parquet").to_pylist()}
    assert [row["branch"] for row in here.values()] == ["007", "1e3", "2020-01-01", "a b"]
    if form == "csv":
        # Spark finds the columns that folders tell below the folder that it is given.
        source = tmp_path / "in.csv"
        (tmp_path / "in").rename(source)
    _, there = score(spark, models, source, tmp_path / "there", keep=("branch",))
    assert {row["CustomerId"]: row for row in there.to_pylist()} == here


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([12345678901.0, None, 7.0]), ["12345678901", None, "7"]),
        (pa.array(["007", "8", None]), ["007", "8", None]),
        (pa.array([str(uuid.UUID(int=number)) for number in (1, 2, 3)]), [str(uuid.UUID(int=n)) for n in (1, 2, 3)]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
@pytest.mark.parametrize("ending", ["", ".csv"])
def test_identifiers_are_written_as_text(
    spark: Any, models: Path, tmp_path: Path, column: Any, texts: list[Any], ending: str
) -> None:
    table = pa.Table.from_pandas(draw_customers(3), preserve_index=False).drop_columns("CustomerId")
    parquet.write_table(table.append_column("CustomerId", column), tmp_path / "in.parquet")
    _, scores = score(spark, models, tmp_path / "in.parquet", tmp_path / f"out{ending}")
    assert [cell or None for cell in scores.column("CustomerId").to_pylist()] == texts


def test_row_numbers_have_a_name_of_their_own(spark: Any, models: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(draw_customers(3), preserve_index=False)
    names = ["CustomerID" if name == "CustomerId" else name for name in table.column_names]
    parquet.write_table(table.rename_columns(names), tmp_path / "in.parquet")
    summary, scores = score(spark, models, tmp_path / "in.parquet", tmp_path / "out")
    assert scores.column_names == ["row", "probability", "churn", "model_version"]
    assert scores.column("row").to_pylist() == [1, 2, 3]
    assert "Is it CustomerID? Then rename that column." in summary["notes"][0]


def test_a_column_named_row_is_passed_through(spark: Any, models: Path, tmp_path: Path) -> None:
    table = pa.Table.from_pandas(draw_customers(3), preserve_index=False).append_column("row", pa.array([7, 8, 9]))
    parquet.write_table(table, tmp_path / "in.parquet")
    _, scores = score(spark, models, tmp_path / "in.parquet", tmp_path / "out", keep=("row",))
    assert scores.column("row").to_pylist() == [7, 8, 9]


def test_columns_may_have_names_that_mean_something_to_spark(spark: Any, tmp_path: Path) -> None:
    from bundles import publish

    odd = ["a.b", "a`b", "it's", "a,b", "100 %", "cafe\u0301", "row", "probability", "select", "__x"[2:]]
    features = (*(Feature(name, "number") for name in odd), Feature("Land", "category", categories=("x", "caf\u00e9")))
    schema = Schema(features, "left", "client no.")
    customer = dict.fromkeys(schema.names[:-1], 1.5) | {"Land": "x"}
    model = publish(tmp_path / "models", schema, customer)
    customers = [{"client no.": "a"} | dict.fromkeys(odd, 1.5) | {"Land": "cafe\u0301"}]
    parquet.write_table(pa.Table.from_pylist(customers), tmp_path / "in.parquet")
    _, scores = score(spark, tmp_path / "models", tmp_path / "in.parquet", tmp_path / "out")
    score_here(load_scorer(model, "onnx"), tmp_path / "in.parquet", tmp_path / "here.parquet")
    assert scores.to_pylist() == read(tmp_path / "here.parquet").to_pylist()
