from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from bank import draw_customers, with_gaps
from pyarrow import csv, parquet
from spark_sessions import spark_session
from tampering import mark_pickle

from batch.chunk import REJECTS
from batch.chunk import score_rows as score_rows_of_table
from batch.spark.rows import RAGGED, WRONG, TextFormat, score_rows
from churn.bundle import sign_bundle
from churn.errors import BundleError, EngineError, TableError, TooManyRejectsError
from churn.tables.rows import Rows
from churn.trust.keys import TrustedKeys, read_signing_key, read_trusted_keys, write_key_pair
from churn.trust.signatures import SIGNATURE, TRUSTED_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from churn.scorer import Scorer

LINES = 600


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """One session for all tests, with small partitions."""
    with spark_session(small_partitions=True) as session:
        yield session


@pytest.fixture
def customers() -> pd.DataFrame:
    """Customers as text; eight values in six of them are wrong."""
    table = with_gaps(draw_customers(LINES, seed=5)).astype(object)
    table = table.map(lambda cell: "" if pd.isna(cell) else str(cell))
    table.loc[0, ["Age", "Gender"]] = ""
    table.loc[17, "Age"] = "900"
    table.loc[[18, 599], "Geography"] = "Mars"
    table.loc[300, ["NumOfProducts", "Tenure"]] = "-3"
    table.loc[301, "CreditScore"] = "?"
    return table


def job(source: Path, output: Path, **chosen: Any) -> Any:
    from batch.spark.job import SparkJob

    return SparkJob(str(source), str(output), **chosen)


def score(spark: Any, models: Path, source: Path, output: Path, **chosen: Any) -> tuple[Any, pa.Table, pa.Table]:
    """Score a table; return summary, scores and rejects, each in the order of the input."""
    from batch.spark.job import score_table

    summary = score_table(spark, models / "1", "onnx", job(source, output, **chosen))
    rejects = parquet.read_table(f"{output}.rejects")
    order = [("row", "ascending"), ("column", "ascending")]
    return summary, parquet.read_table(output), rejects.sort_by(order)


def expect(scorer: Scorer, table: pa.Table, keep: tuple[str, ...] = ()) -> tuple[list[Any], list[Any]]:
    """Return what one machine makes of the same table."""
    batch = table.combine_chunks().to_batches()[0]
    chunk = score_rows_of_table(scorer, Rows(batch, len(batch)), keep)
    rejects = pa.Table.from_batches([chunk.rejects]).sort_by([("row", "ascending"), ("column", "ascending")])
    return chunk.scores.to_pylist(), rejects.to_pylist()


def read_text(source: Path) -> pa.Table:
    names = pd.read_csv(source, nrows=0).columns
    types = dict.fromkeys(names, pa.string())
    return csv.read_csv(source, convert_options=csv.ConvertOptions(column_types=types, strings_can_be_null=False))


# --- The same numbers as on one machine ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_spark_and_one_machine_agree_on_simulated_customers(
    spark: Any, models: Path, scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    source = tmp_path / f"customers.{form}"
    if form == "csv":
        customers.to_csv(source, index=False)
        table = read_text(source)
    else:
        table = pa.Table.from_pandas(customers, preserve_index=False)
        parquet.write_table(table, source, row_group_size=100)
    summary, scores, rejects = score(spark, models, source, tmp_path / "scores", keep=("Surname", "Age"))
    expected = expect(scorer, table, ("Surname", "Age"))
    assert scores.to_pylist() == expected[0]
    assert rejects.to_pylist() == expected[1]
    assert scores.schema.names == ["CustomerId", "Surname", "Age", "probability", "churn", "model_version"]
    assert rejects.schema.names == REJECTS.names
    assert (summary["rows"], summary["scored"], summary["rejected"]) == (LINES, LINES - 6, 6)
    assert sum(summary["reasons"].values()) == len(rejects) == 8
    assert summary["leavers"] == sum(row["churn"] for row in expected[0])
    assert {path.name for path in tmp_path.iterdir()} == {source.name, "scores", "scores.rejects"}


@pytest.mark.slow
def test_spark_and_one_machine_agree_on_the_public_table(
    spark: Any, models: Path, scorer: Scorer, public_table: Path, tmp_path: Path
) -> None:
    summary, scores, rejects = score(spark, models, public_table, tmp_path / "scores")
    expected = expect(scorer, read_text(public_table))
    assert scores.to_pylist() == expected[0]
    assert rejects.to_pylist() == expected[1] == []
    assert summary["rows"] == 10_000


@pytest.mark.slow
def test_a_ragged_line_is_rejected(
    spark: Any, models: Path, scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    source = tmp_path / "customers.csv"
    lines = customers.head(200).to_csv(index=False, sep=";").splitlines()
    lines[3] = lines[3].rpartition(";")[0]
    lines[190] += ";more"
    source.write_text("\n".join(lines))
    summary, scores, rejects = score(spark, models, source, tmp_path / "scores")
    assert len(scores) == 200 - 5
    ragged = [row for row in rejects.to_pylist() if row["column"] is None]
    assert [(row["row"], row["value"]) for row in ragged] == [(3, lines[3]), (190, lines[190])]
    assert {(row["identifier"], row["allowed"]) for row in ragged} == {(None, "14 fields, as in the header")}
    assert [row["reason"] for row in ragged] == ["has 13 fields", "has 15 fields"]
    assert summary["reasons"]["a line has 13 fields"] == summary["reasons"]["a line has 15 fields"] == 1
    fine = [number for number in range(200) if number + 1 not in (1, 3, 18, 19, 190)]
    whole, _ = expect(scorer, pa.Table.from_pandas(customers.iloc[fine], preserve_index=False))
    assert scores.to_pylist() == whole


@pytest.mark.slow
def test_typed_columns_are_passed_through_and_rows_without_identifier_are_numbered(
    spark: Any, models: Path, scorer: Scorer, tmp_path: Path
) -> None:
    table = draw_customers(300, seed=8).drop(columns=["CustomerId"])
    table["Joined"] = pd.Timestamp("2020-02-29").date()
    table["Age"] = table["Age"].astype(float)
    table.loc[200, "Age"] = None
    source = tmp_path / "customers.parquet"
    typed = pa.Table.from_pandas(table, preserve_index=False)
    parquet.write_table(typed, source, row_group_size=50)
    _, scores, rejects = score(spark, models, source, tmp_path / "scores", keep=("Joined",))
    expected = expect(scorer, typed, ("Joined",))
    assert scores.to_pylist() == expected[0]
    assert rejects.to_pylist() == expected[1]
    assert scores.schema.field("Joined").type == pa.date32()
    assert [(row["row"], row["identifier"]) for row in rejects.to_pylist()] == [(201, None)]
    assert scores.column("row").to_pylist() == [row for row in range(1, 301) if row != 201]


@pytest.mark.slow
def test_a_folder_of_csv_gives_a_folder_of_csv(
    spark: Any, models: Path, scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    from batch.spark.job import score_table

    folder = tmp_path / "customers.csv"
    folder.mkdir()
    customers.head(300).to_csv(folder / "a.csv.gz", index=False)
    customers.tail(300).to_csv(folder / "b.csv", index=False)
    output = tmp_path / "scores.csv"
    summary = score_table(spark, models / "1", "onnx", job(folder, output))
    assert (summary["rows"], summary["rejected"]) == (LINES, 6)
    found = pd.concat(pd.read_csv(part, dtype=str, keep_default_na=False) for part in output.glob("*.csv"))
    rejects = pd.concat(pd.read_csv(part) for part in (tmp_path / "scores.csv.rejects").glob("*.csv"))
    expected, _ = expect(scorer, pa.Table.from_pandas(customers, preserve_index=False))
    scored = {row["CustomerId"]: (row["probability"], row["churn"]) for row in expected}
    assert {row.CustomerId: (float(str(row.probability)), row.churn == "true") for row in found.itertuples()} == scored
    assert rejects.row.nunique() == 6
    assert len(rejects) == 8


@pytest.mark.slow
def test_a_worker_loads_the_model_once(spark: Any, models: Path) -> None:
    from batch.spark.bundle import load_packed, pack_bundle

    packed = spark.sparkContext.broadcast(pack_bundle(models / "1")[1])

    def load(_: Any) -> Any:
        yield os.getpid(), id(load_packed(packed.value))

    found = spark.sparkContext.parallelize(range(16), 16).mapPartitions(load).collect()
    assert len(found) == 16
    assert len(set(found)) == len({process for process, _ in found}) <= 4
    assert os.getpid() not in dict(found)


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_too_many_rejects_publish_nothing(spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path) -> None:
    from batch.job_options import RejectLimit

    source = tmp_path / "customers.csv"
    customers.to_csv(source, index=False)
    with pytest.raises(TooManyRejectsError, match="6 of 600 rows could not be scored; allowed: 5"):
        score(spark, models, source, tmp_path / "scores", max_rejects=RejectLimit(5))
    assert list(tmp_path.iterdir()) == [source]
    (tmp_path / "_scores.partial").mkdir()  # a killed job left it
    (tmp_path / "_scores.partial" / "part-0.parquet").write_text("half")
    assert score(spark, models, source, tmp_path / "scores", max_rejects=RejectLimit(6))[0]["rejected"] == 6
    assert not list(tmp_path.glob("*.partial"))
    with pytest.raises(TableError, match="scores: the folder exists; remove it, or use another name"):
        score(spark, models, source, tmp_path / "scores")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "keep", "message"),
    [
        ("a,b\n1,2\n", (), "columns are missing: CreditScore, .*; found: a, b$"),
        ("Age,Age\n1,2\n", (), "columns occur twice in the header: Age"),
        ("", (), "is empty"),
        (None, (), "nowhere|does not exist"),
        ("own", ("customerid",), "--keep customerid: the output identifies customers by a column of this name"),
        ("own", ("shoe",), "columns are missing: shoe"),
    ],
)
def test_a_table_that_can_not_be_scored_is_refused(
    spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path, text: str | None, keep: Any, message: str
) -> None:
    source = tmp_path / "nowhere.csv"
    if text is not None:
        source.write_text(customers.to_csv(index=False) if text == "own" else text)
    with pytest.raises(TableError, match=message) as error:
        score(spark, models, source, tmp_path / "scores", keep=keep)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*scores*"))


@pytest.mark.slow
def test_what_fails_in_a_worker_is_told_in_one_line(
    spark: Any, models: Path, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dataclasses

    from batch.spark import job as spark_job

    def pack(*arguments: Any) -> Any:
        manifest, packed = pack_bundle(*arguments)
        damaged = {**packed.files, "model.onnx": b"damaged"}
        return manifest, dataclasses.replace(packed, digest="of another", files=damaged)

    from batch.spark.bundle import pack_bundle

    monkeypatch.setattr(spark_job, "pack_bundle", pack)
    source = tmp_path / "customers.csv"
    customers.to_csv(source, index=False)
    with pytest.raises(TableError, match="the received manifest differs from the one that was sent") as error:
        score(spark, models, source, tmp_path / "scores")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [source]


# --- Parts, without Spark --------------------------------------------------------------------------------------------


def test_each_row_gives_one_row(scorer: Scorer, customers: pd.DataFrame) -> None:
    batch = pa.RecordBatch.from_pandas(customers, preserve_index=False)
    lines: list[str | None] = [None] * LINES
    lines[4] = "a;line"
    batch = batch.append_column(RAGGED, pa.array(lines))
    found = pa.Table.from_batches(list(score_rows(scorer, batch, 100, 7, (), TextFormat())))
    assert sorted(found.column("__index").to_pylist()) == list(range(100, 100 + LINES))
    assert set(found.column("__part").to_pylist()) == {7}
    wrong = {row["__index"]: row[WRONG] for row in found.to_pylist() if row[WRONG] is not None}
    assert sorted(wrong) == [100, 104, 117, 118, 400, 401, 699]
    assert [value["column"] for value in wrong[100]] == ["Gender", "Age"]
    allowed = "14 fields, as in the header"
    assert wrong[104] == [{"column": None, "value": "a;line", "reason": "has 1 field", "allowed": allowed}]


def test_a_packed_model_scores_as_its_folder_and_is_loaded_once(
    models: Path, scorer: Scorer, customers: pd.DataFrame
) -> None:
    from batch.spark.bundle import load_packed, pack_bundle

    packed = pack_bundle(models / "1")[1]
    loaded = load_packed(packed)
    assert load_packed(packed) is loaded
    batch = pa.RecordBatch.from_pandas(customers, preserve_index=False)
    rows = Rows(batch, len(batch))
    assert score_rows_of_table(loaded.scorer, rows).scores == score_rows_of_table(scorer, rows).scores


def test_a_packed_model_that_changed_on_its_way_is_refused(models: Path) -> None:
    from dataclasses import replace

    from batch.spark.bundle import load_packed, pack_bundle

    packed = pack_bundle(models / "1")[1]
    with pytest.raises(BundleError, match="the received manifest differs from the one that was sent"):
        load_packed(replace(packed, digest="another"))


def test_executors_verify_the_signature_with_the_keys_of_the_driver(
    own_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle
    from dataclasses import replace

    from batch.spark.bundle import load_packed, pack_bundle

    write_key_pair(tmp_path / "key")
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "key.pub"))
    with pytest.raises(BundleError, match=f"1/{SIGNATURE}: is missing"):
        pack_bundle(own_models / "1")
    key = read_signing_key(tmp_path / "key")
    sign_bundle(own_models / "1", key)
    _, packed = pack_bundle(own_models / "1")
    monkeypatch.delenv(TRUSTED_KEYS)
    packed = pickle.loads(pickle.dumps(packed))  # noqa: S301  as Spark sends it
    assert load_packed(packed).scorer.signers.keys == (key.identifier,)
    other = {name: data for name, data in packed.files.items() if name != SIGNATURE}
    write_key_pair(tmp_path / "other")
    foreign = read_trusted_keys(tmp_path / "other.pub")
    for wrong in (replace(packed, trusted=foreign), replace(packed, files=other, trusted=TrustedKeys({"x": b"x"}))):
        with pytest.raises(BundleError, match=SIGNATURE):
            load_packed(wrong)


def test_executors_that_trust_keys_refuse_what_an_incautious_driver_sends(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batch.spark import bundle

    _, packed = bundle.pack_bundle(models / "1")
    write_key_pair(tmp_path / "key")
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "key.pub"))
    monkeypatch.setattr(bundle, "_loaded", {})
    with pytest.raises(BundleError, match=f"1/{SIGNATURE}: is missing"):
        bundle.load_packed(packed)


@pytest.mark.slow
def test_neither_the_driver_nor_executors_open_the_pickle(
    spark: Any, own_models: Path, customers: pd.DataFrame, tmp_path: Path
) -> None:
    mark_pickle(own_models / "1", tmp_path / "was opened")
    source = tmp_path / "customers.csv"
    customers.to_csv(source, index=False)
    assert len(score(spark, own_models, source, tmp_path / "scores")[1]) > 0
    assert not (tmp_path / "was opened").exists()


@pytest.mark.slow
def test_a_signed_model_scores_on_executors_and_an_unsigned_one_does_not(
    spark: Any, own_models: Path, customers: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_key_pair(tmp_path / "key")
    monkeypatch.setenv(TRUSTED_KEYS, str(tmp_path / "key.pub"))
    source = tmp_path / "customers.csv"
    customers.to_csv(source, index=False)
    with pytest.raises(BundleError, match=f"1/{SIGNATURE}: is missing"):
        score(spark, own_models, source, tmp_path / "scores")
    sign_bundle(own_models / "1", read_signing_key(tmp_path / "key"))
    assert len(score(spark, own_models, source, tmp_path / "scores")[1]) > 0


def test_without_pyspark_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from batch.spark.session import open_session

    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(EngineError, match=r"Spark is not installed: pip install 'churn\[spark\]'"), open_session("x"):
        pass
