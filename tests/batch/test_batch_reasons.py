"""`churn score --reasons`: columns of reasons in files, tables of databases and Spark."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import bundles
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from bank import draw_customers
from databases import fill, select
from file_jobs import expect, read, score, write
from pyarrow import parquet
from spark_sessions import spark_session

from batch.chunk import open_reasons
from batch.files import blocks, run, source_arrow, source_csv
from batch.sql import job as sql_job
from batch.sql.job import SqlJob, score_query
from churn.errors import MissingBackgroundError, TableError
from churn.reasons.explainer import Explainer
from churn.reasons.rounding import round_points
from churn.scorer import Scorer, load_scorer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROWS = 90
BASE = ["base"]
GROUP = ["reason_{}", "reason_{}_points", "reason_{}_sentence"]
FORMS = ("csv", "parquet", "arrow", "arrows", "csv.gz")


SUPPORT = ["support_share", "support_field", "support_low", "support_high", "support_sentence"]


def name_columns(count: int) -> list[str]:
    return BASE + [name.format(number) for number in range(1, count + 1) for name in GROUP] + SUPPORT


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reasons")
    bundles.publish(root, background=3, support=True)
    return root


@pytest.fixture(scope="module")
def scorer(root: Path) -> Scorer:
    return load_scorer(root / "1", "onnx")


@pytest.fixture
def customers() -> pd.DataFrame:
    """Customers as text, in the order of their identifiers; two of them are wrong."""
    table = draw_customers(ROWS, seed=9).astype(object).map(str).sort_values("CustomerId", ignore_index=True)
    table.loc[17, "Age"] = "-900"
    table.loc[60, "Geography"] = "Mars"
    return table


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let small tables be cut into several blocks."""
    monkeypatch.setattr(source_arrow, "SLOW_ROWS", 20)
    monkeypatch.setattr(source_csv, "SLOW_BYTES", 1500)
    monkeypatch.setattr(sql_job, "SLOW_PAGE_ROWS", 20)
    monkeypatch.setattr(run, "COMMIT_SECONDS", 0)


def test_the_columns_say_what_the_explainer_says(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    score(scorer, write(customers, tmp_path / "in.csv"), tmp_path / "out.parquet", reasons=2)
    table = read(tmp_path / "out.parquet")
    assert table.schema.names == ["CustomerId", "probability", "churn", "model_version", *name_columns(2)]
    schema = scorer.schema
    known = customers.drop(index=[17, 60])
    raw = np.array([[feature.parse(row[feature.name]) for feature in schema.features] for _, row in known.iterrows()])
    explainer = Explainer(scorer)
    points, base = round_points(explainer.explain(raw).points, table.column("probability").to_numpy(), explainer.base)
    for row, values in zip(table.to_pylist(), points, strict=True):
        first, second = np.argsort(-np.abs(values), kind="stable")[:2]
        assert row["base"] == base
        assert (row["reason_1"], row["reason_2"]) == (schema.names[first], schema.names[second])
        assert (row["reason_1_points"], row["reason_2_points"]) == (values[first], values[second])
        assert "the probability" in row["reason_2_sentence"]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_reasons(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, form: str) -> None:
    score(scorer, write(customers, tmp_path / f"in.{form}"), tmp_path / f"out.{form}", reasons=3, keep=("Surname",))
    scores, _ = expect(scorer, customers, ("Surname",), open_reasons(scorer, 3))
    assert read(tmp_path / f"out.{form}").to_pylist() == scores
    assert len(scores) == ROWS - 2


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("form", FORMS)
def test_a_killed_job_is_resumed_to_the_same_bytes(
    scorer: Scorer, customers: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    source, output = write(customers, tmp_path / f"in.{form}"), tmp_path / f"out.{form}"
    score(scorer, source, tmp_path / f"whole.{form}", reasons="all")
    take, calls = run.FileRun._take, iter(range(100))

    def fail(self: Any, scored: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        take(self, scored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run.FileRun, "_take", fail)
        with pytest.raises(KeyboardInterrupt):
            score(scorer, source, output, reasons="all")
    with pytest.raises(TableError, match="reasons was 'all' and is 3"):
        score(scorer, source, output, reasons=3, resume=True)
    summary = score(scorer, source, output, reasons="all", resume=True)
    assert 0 < summary["resumed_at_row"] < ROWS
    assert output.read_bytes() == (tmp_path / f"whole.{form}").read_bytes()


def test_blocks_are_committed_about_every_two_seconds() -> None:
    assert source_arrow.SLOW_ROWS == blocks.SLOW_ROWS == 1024
    assert source_csv.SLOW_BYTES == blocks.SLOW_BYTES < 100_000
    assert sql_job.SLOW_PAGE_ROWS == 1024


def test_names_that_a_kept_column_has_are_prefixed(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    table = customers.rename(columns={"Surname": "Base"}).assign(reason_1_points="kept")
    score(scorer, write(table, tmp_path / "in.csv"), tmp_path / "out.csv", reasons=1, keep=("Base", "reason_1_points"))
    found = read(tmp_path / "out.csv")
    assert found.schema.names == [
        "CustomerId", "Base", "reason_1_points", "probability", "churn", "model_version",
        "predicted_base", "reason_1", "predicted_reason_1_points", "reason_1_sentence",
        *SUPPORT,
    ]  # fmt: skip
    assert set(found.column("reason_1_points").to_pylist()) == {"kept"}
    assert pa.types.is_floating(found.schema.field("predicted_reason_1_points").type)


def test_without_reasons_nothing_changes(scorer: Scorer, customers: pd.DataFrame, tmp_path: Path) -> None:
    source = write(customers, tmp_path / "in.csv")
    score(scorer, source, tmp_path / "plain.csv")
    score(scorer, source, tmp_path / "told.csv", reasons=1)
    assert (tmp_path / "plain.csv").read_text().startswith("CustomerId,probability,churn,model_version\n")
    plain, told = read(tmp_path / "plain.csv"), read(tmp_path / "told.csv")
    assert told.select(plain.schema.names) == plain


def test_a_version_without_a_background_says_retrain_before_anything_is_written(
    customers: pd.DataFrame, tmp_path: Path
) -> None:
    old = load_scorer(bundles.publish(tmp_path / "models"), "onnx")
    source = write(customers, tmp_path / "in.csv")
    with pytest.raises(MissingBackgroundError, match="retrain it with churn train"):
        score(old, source, tmp_path / "out.csv", reasons=1)
    assert {path.name for path in tmp_path.iterdir()} == {"models", "in.csv"}


def test_estimates_have_standard_errors(tmp_path: Path) -> None:
    customer = {name: float(number) for number, name in enumerate(bundles.WIDE.names)}
    wide = load_scorer(bundles.publish(tmp_path / "models", bundles.WIDE, customer, background=2), "onnx")
    table = pd.DataFrame([customer | {"CustomerId": 1}]).astype(object).map(str)
    score(wide, write(table, tmp_path / "in.csv"), tmp_path / "out.parquet", reasons=1)
    (row,) = read(tmp_path / "out.parquet").to_pylist()
    assert 0 < row["reason_1_standard_error"] < abs(row["reason_1_points"])


# --- Databases -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_query_has_the_reasons_of_its_rows_and_is_resumed(scorer: Scorer, customers: pd.DataFrame, url: str) -> None:
    fill(url, customers, as_text=True)
    sql = SqlJob(query="SELECT * FROM customers", url=url, table="scores", keep=("Surname",), reasons=2)
    whole, calls = sql_job._score_page, iter(range(100))

    def fail(*arguments: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        whole(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sql_job, "_score_page", fail)
        with pytest.raises(KeyboardInterrupt):
            score_query(scorer, sql)
    with pytest.raises(TableError, match="reasons was 2 and is None"):
        score_query(scorer, replace(sql, reasons=None, resume=True))
    assert score_query(scorer, replace(sql, resume=True))["resumed_at_row"] == 40
    scores, _ = expect(scorer, customers, ("Surname",), open_reasons(scorer, 2))
    names = list(scores[0])
    quoted = ", ".join(f'"{name}"' for name in names)
    found = select(url, f"SELECT {quoted} FROM scores ORDER BY 1")
    churn = names.index("churn")  # SQLite has no booleans
    assert [[str(bool(cell)) if place == churn else str(cell) for place, cell in enumerate(row)] for row in found] == [
        list(map(str, row.values())) for row in scores
    ]


# --- Spark -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    with spark_session() as session:
        yield session


@pytest.mark.slow
def test_spark_has_the_same_reasons(
    spark: Any, root: Path, scorer: Scorer, customers: pd.DataFrame, tmp_path: Path
) -> None:
    from batch.spark.job import SparkJob, score_table

    table = customers.assign(base="kept")
    parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), tmp_path / "in.parquet")
    spark_job = SparkJob(str(tmp_path / "in.parquet"), str(tmp_path / "scores"), keep=("base",), reasons=2)
    summary = score_table(spark, root / "1", "onnx", spark_job)
    assert (summary["scored"], summary["rejected"]) == (ROWS - 2, 2)
    scores, _ = expect(scorer, table, ("base",), open_reasons(scorer, 2))
    assert parquet.read_table(tmp_path / "scores").to_pylist() == scores
    assert "predicted_base" in scores[0]


def test_a_packed_model_has_its_reasons_when_its_files_are_gone(root: Path, tmp_path: Path) -> None:
    from batch.spark.bundle import load_packed, pack_bundle

    _, packed = pack_bundle(root / "1", reasons=2)
    assert [name for name, _ in packed.reason_columns] == name_columns(2)
    loaded = load_packed(packed)
    assert not loaded.scorer.folder.exists()
    assert loaded.writer is not None
    raw = bundles.draw_raw(loaded.scorer.schema, 2)
    assert loaded.writer.write(raw, loaded.scorer.score_raw(raw))[0][1].listed[0].sentence
    _, plain = pack_bundle(root / "1")
    assert load_packed(plain).writer is None
    with pytest.raises(MissingBackgroundError):
        pack_bundle(bundles.publish(tmp_path), reasons=1)
