"""Hashes of the rows that a Spark job reads and writes, and what a later check of them finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from bank import draw_customers
from pyarrow import parquet
from spark_sessions import spark_session

from batch.row_hash import RowHash
from batch.spark.rows import RAGGED
from churn.errors import TableError
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from churn.scorer import Scorer

PARTS = ("input_rows", "output_rows", "rejects_rows")


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """One session for all tests, with small partitions."""
    with spark_session(small_partitions=True) as session:
        yield session


@pytest.fixture
def customers() -> pd.DataFrame:
    """Customers with typed columns; two of them can't be scored."""
    table = draw_customers(200, seed=8)
    table["Joined.on"] = pd.Timestamp("2020-02-29").date()
    table["Age"] = table["Age"].astype(float)
    table.loc[[3, 150], "Age"] = None
    return table


def score(spark: Any, models: Path, source: Path, output: Path, **chosen: Any) -> dict[str, Any]:
    from batch.spark.job import SparkJob, score_table

    wanted = SparkJob(str(source), str(output), **({"has_hashes": True} | chosen))
    return {"entry": 7} | score_table(spark, models / "1", "onnx", wanted)


def check(spark: Any, models: Path, *arguments: Any) -> Any:
    from batch.spark.check import check_table

    return check_table(spark, Registry(models), *arguments)


def write(customers: pd.DataFrame, path: Path, rows: int = 50) -> Path:
    parquet.write_table(pa.Table.from_pandas(customers, preserve_index=False), path, row_group_size=rows)
    return path


@pytest.mark.slow
def test_partitions_and_order_make_no_difference(
    spark: Any, models: Path, scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    source = write(customers, tmp_path / "a.parquet")
    once = score(spark, models, source, tmp_path / "scores", keep=("Joined.on",))
    turned = tmp_path / "b.parquet"
    turned.mkdir()
    shuffled = customers.sample(frac=1, random_state=1)
    for place in range(3):
        write(shuffled[place::3], turned / f"{place}.parquet", 7)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 13)
    again = score(spark, models, turned, tmp_path / "again", keep=("Joined.on",))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 32_768)
    assert [once[part] for part in PARTS[:2]] == [again[part] for part in PARTS[:2]]
    assert [once[part]["rows"] for part in PARTS] == [200, 198, 2]
    assert once["input_rows"]["columns"] == sorted(["CustomerId", *scorer.schema.names, "Joined.on"])
    here = RowHash(once["input_rows"]["columns"])
    here.add(parquet.read_table(source).combine_chunks().to_batches()[0])
    assert here.describe() == once["input_rows"]  # without Spark


@pytest.mark.slow
def test_nothing_is_hashed_unless_it_is_wanted(
    spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path
) -> None:
    source = write(customers, tmp_path / "a.parquet")
    summary = score(spark, models, source, tmp_path / "scores", has_hashes=False)
    assert not set(PARTS) & summary.keys()


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_what_was_changed_later_is_found(
    spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    source, output = tmp_path / f"customers.{form}", tmp_path / f"scores.{form}"
    customers.loc[[5, 6], "Surname"] = ["", None]
    if form == "csv":
        customers.to_csv(source, index=False)
        with source.open("a") as file:
            file.write("too,few\n")
    else:
        write(customers, source)
    recorded = score(spark, models, source, output, keep=("Surname",))
    assert (RAGGED in recorded["input_rows"]["columns"]) is (form == "csv")
    for part in ("input", "output", "rejects"):
        assert check(spark, models, recorded, part).is_same, part
    moved = tmp_path / f"moved.{form}"
    output.rename(moved)
    assert check(spark, models, recorded, "output", str(moved)).is_same
    table = spark.read.csv(str(moved), header=True, escape='"') if form == "csv" else spark.read.parquet(str(moved))
    first = table.first()["CustomerId"]
    for number, changed in enumerate(
        [
            table.where(f"CustomerId <> '{first}'"),
            table.union(table.where(f"CustomerId = '{first}'")),
            table.selectExpr(
                "CustomerId",
                "Surname",
                "probability",
                "churn",
                f"if(CustomerId = '{first}', '2', '1') AS model_version",
            ),
            table.selectExpr("CustomerId", "coalesce(Surname, '') AS Surname", "probability", "churn", "model_version"),
        ]
    ):
        path = f"{tmp_path}/changed-{number}.{form}"
        if form == "csv":
            changed.write.csv(path, header=True, escape='"', nullValue="", emptyValue='""')
        else:
            changed.write.parquet(path)
        assert not check(spark, models, recorded, "output", path).is_same, number
    path = f"{tmp_path}/less.{form}"
    table.drop("Surname").write.format(form).option("header", True).save(path)
    with pytest.raises(TableError, match="lacks columns: Surname"):
        check(spark, models, recorded, "output", path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_table_without_rejects_is_hashed(
    spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    source = write(customers.tail(40), tmp_path / "a.parquet")
    recorded = score(spark, models, source, tmp_path / f"scores.{form}")
    assert recorded["rejects_rows"]["rows"] == 0
    assert check(spark, models, recorded, "rejects").is_same
