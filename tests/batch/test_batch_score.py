from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv, parquet

from batch import score as batch_score
from batch.score import Summary, score_file
from churn.arrow import encode_batch
from churn.columns import MAX_VIOLATIONS
from churn.errors import InvalidCustomersError, TableError
from churn.schema import MISSING_WORDS, Feature, InvalidValueError, Schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from churn.scorer import Scorer


@pytest.fixture
def scorer(scorers: dict[str, Scorer]) -> Scorer:
    return scorers["onnx"]


@pytest.fixture
def bank(bank_csv: Path) -> pd.DataFrame:
    """The table as text, gaps as empty cells."""
    return pd.read_csv(bank_csv, dtype=str, keep_default_na=False)


@pytest.fixture
def answer(scorer: Scorer, tmp_path: Path) -> Callable[..., pd.DataFrame]:
    """Write a table, score the file, and read the answer."""

    def answer(table: pd.DataFrame, form: str = "csv", **options: Any) -> pd.DataFrame:
        source, output = tmp_path / f"bank.{form}", tmp_path / f"scores.{form}"
        if form == "csv":
            table.to_csv(source, index=False, **options)
        else:
            table.to_parquet(source)
        score_file(scorer, source, output)
        return pd.read_csv(output, dtype={"CustomerId": str}) if form == "csv" else pd.read_parquet(output)

    return answer


def refusal(scorer: Scorer, source: Path) -> str:
    """Return why a file is not scored, having seen that nothing was written."""
    before = sorted(source.parent.iterdir())
    with pytest.raises(TableError) as error:
        score_file(scorer, source, source.parent / "scores.csv")
    assert sorted(source.parent.iterdir()) == before
    return str(error.value)


# --- What is written -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_is_scored_in_order_as_the_scorer_would(
    scorer: Scorer, answer: Any, bank: pd.DataFrame, dataset: Any, form: str
) -> None:
    found = answer(bank, form)
    expected = scorer.score_raw(dataset.raw)
    assert list(found.columns) == ["CustomerId", "probability", "churn", "model_version"]
    assert found.CustomerId.tolist() == bank.CustomerId.tolist()
    assert found.probability.to_numpy() == pytest.approx(expected, abs=1e-9)
    assert found.churn.tolist() == (expected > 0.5).tolist()
    assert set(found.model_version.astype(str)) == {"1"}


def test_the_summary_counts_customers_and_leavers(scorer: Scorer, bank_csv: Path, tmp_path: Path, dataset: Any) -> None:
    summary = score_file(scorer, bank_csv, tmp_path / "scores.csv")
    assert summary.customers == 1000
    assert summary.leavers == int((scorer.score_raw(dataset.raw) > 0.5).sum())
    assert summary.customers_per_second == pytest.approx(1000 / summary.seconds)
    assert Summary(0, 0, 0.0).customers_per_second == 0


def test_many_batches_are_put_together_in_order(
    scorer: Scorer, answer: Any, bank: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, dataset: Any
) -> None:
    monkeypatch.setattr(batch_score, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(batch_score, "BATCH_ROWS", 100)
    for form in ("csv", "parquet"):
        found = answer(bank, form)
        assert found.CustomerId.tolist() == bank.CustomerId.tolist()
        assert found.probability.to_numpy() == pytest.approx(scorer.score_raw(dataset.raw), abs=1e-6)


@pytest.mark.parametrize(
    "form",
    [
        {"sep": ";"},
        {"lineterminator": "\r\n"},
        {"encoding": "utf-8-sig"},
        {"quoting": 1},
        {"sep": ";", "lineterminator": "\r\n", "encoding": "utf-8-sig"},
    ],
    ids=["semicolon", "CRLF", "BOM", "quoted", "as Excel writes it"],
)
def test_every_form_of_csv_scores_the_same(
    scorer: Scorer, answer: Any, bank: pd.DataFrame, dataset: Any, form: dict[str, Any]
) -> None:
    found = answer(bank.assign(Surname="two, names;\nand lines"), **form)
    assert found.probability.to_numpy() == pytest.approx(scorer.score_raw(dataset.raw), abs=1e-9)


def test_columns_come_in_any_order_with_spaces_around_their_names(
    scorer: Scorer, answer: Any, bank: pd.DataFrame, dataset: Any
) -> None:
    found = answer(bank[bank.columns[::-1]].rename(columns=" {} ".format))
    assert found.CustomerId.tolist() == bank.CustomerId.tolist()
    assert found.probability.to_numpy() == pytest.approx(scorer.score_raw(dataset.raw), abs=1e-9)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_without_an_identifier_the_rows_are_numbered(
    answer: Any, bank: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(batch_score, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(batch_score, "BATCH_ROWS", 100)
    found = answer(bank.drop(columns="CustomerId"), form)
    assert found.CustomerId.tolist() == [str(row) for row in range(1, 1001)]


def test_an_identifier_keeps_its_leading_zeros(answer: Any, bank: pd.DataFrame) -> None:
    assert answer(bank[:3].assign(CustomerId=["007", "8", "x,y"])).CustomerId.tolist() == ["007", "8", "x,y"]


def test_a_typed_parquet_file_scores_as_its_text(scorer: Scorer, answer: Any, bank: pd.DataFrame, dataset: Any) -> None:
    numbers = {name: pd.to_numeric(bank[name]) for name in ("CreditScore", "Tenure", "NumOfProducts", "CustomerId")}
    typed = bank.assign(
        **numbers,
        Age=bank.Age.map(lambda cell: decimal.Decimal(cell)),
        Balance=pd.to_numeric(bank.Balance),
        Geography=bank.Geography.replace("", None).astype("category"),
        IsActiveMember=bank.IsActiveMember == "1",
        HasCrCard=pd.to_numeric(bank.HasCrCard).astype("boolean"),
        EstimatedSalary=bank.EstimatedSalary.astype("category"),
    )
    assert answer(typed, "parquet").probability.to_numpy() == pytest.approx(scorer.score_raw(dataset.raw), abs=1e-9)


def test_no_customers_are_an_answer_without_rows(answer: Any, bank: pd.DataFrame) -> None:
    for form in ("csv", "parquet"):
        found = answer(bank[:0], form)
        assert list(found.columns) == ["CustomerId", "probability", "churn", "model_version"]
        assert found.empty


def test_the_old_answer_stays_until_the_new_one_is_whole(scorer: Scorer, bank_csv: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.csv"
    output.write_text("old")
    bad = tmp_path / "bad.csv"
    bad.write_text(bank_csv.read_text().replace("Female", "?", 1))
    with pytest.raises(TableError):
        score_file(scorer, bad, output)
    assert output.read_text() == "old"
    score_file(scorer, bank_csv, output)
    assert output.read_text().startswith('"CustomerId"') or output.read_text().startswith("CustomerId")


def test_the_progress_bar_is_quiet_off_a_terminal(
    scorer: Scorer, bank_csv: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    score_file(scorer, bank_csv, tmp_path / "scores.csv")
    assert capfd.readouterr() == ("", "")


# --- What is refused -------------------------------------------------------------------------------------------------


def test_bad_values_are_named_by_row_and_column_and_nothing_is_written(
    scorer: Scorer, bank: pd.DataFrame, tmp_path: Path
) -> None:
    bank.loc[4, "Age"] = "?"
    bank.loc[2, "Gender"] = "female"
    bank.loc[2, "Tenure"] = ""
    bank.loc[900, "Balance"] = "-1"
    bank.to_csv(tmp_path / "bank.csv", index=False)
    assert refusal(scorer, tmp_path / "bank.csv").split("\n")[1:] == [
        "  row 3, column Gender: 'female' is an unknown category; allowed: one of Female, Male",
        "  row 3, column Tenure: None is missing; allowed: a whole number from 0 to 130",
        "  row 5, column Age: '?' is not a number; allowed: a whole number from 0 to 130",
        "  row 901, column Balance: '-1' is too small; allowed: a number of 0 or more, or null",
    ]


def test_a_bad_value_in_a_later_batch_is_named_by_its_row_in_the_file(
    scorer: Scorer, bank: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_score, "BLOCK_BYTES", 4096)
    bank.loc[900, "Age"] = "?"
    bank.to_csv(tmp_path / "bank.csv", index=False)
    assert "row 901, column Age" in refusal(scorer, tmp_path / "bank.csv")


def test_many_bad_values_are_cut_off(scorer: Scorer, bank: pd.DataFrame, tmp_path: Path) -> None:
    bank.assign(Age="?").to_csv(tmp_path / "bank.csv", index=False)
    lines = refusal(scorer, tmp_path / "bank.csv").split("\n")
    assert len(lines) == 1 + batch_score.LISTED + 1
    assert lines[-1] == "  …"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:0], "can't be read: Empty CSV file"),
        (lambda text: text.replace("Age", "Years", 1), "columns are absent: Age; there is: RowNumber, CustomerId"),
        (lambda text: text.replace("Tenure", " Age", 1), "the header names a column twice: Age"),
        (lambda text: text.replace("\n3,", "\n3;", 1), "can't be read: line 4: 13 fields, and the header has 14"),
        (lambda text: text + "1,2\n", "can't be read: line 1002: 2 fields, and the header has 14"),
    ],
)
def test_a_csv_that_can_not_be_understood_is_refused(
    scorer: Scorer, bank_csv: Path, tmp_path: Path, change: Any, says: str
) -> None:
    path = tmp_path / "bank.csv"
    path.write_text(change(bank_csv.read_text()))
    assert says in refusal(scorer, path)


@pytest.mark.parametrize("place", ["Surname", "Female"])
def test_a_csv_that_is_not_utf8_is_refused(scorer: Scorer, bank_csv: Path, tmp_path: Path, place: str) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes(bank_csv.read_bytes().replace(place.encode(), b"\xe9", 1))
    message = refusal(scorer, path)
    assert "bank.csv: can't be read: " in message
    assert "utf" in message.lower()


def test_a_file_that_is_absent_or_of_another_kind_is_refused(scorer: Scorer, bank_csv: Path, tmp_path: Path) -> None:
    assert "no.csv: there is no such file" in refusal(scorer, tmp_path / "no.csv")
    (tmp_path / "bank.xlsx").touch()
    assert "bank.xlsx: unknown kind of file; allowed: .csv" in refusal(scorer, tmp_path / "bank.xlsx")
    (tmp_path / "bank.parquet").write_bytes(b"PAR1")
    assert "bank.parquet: can't be read" in refusal(scorer, tmp_path / "bank.parquet")
    with pytest.raises(TableError, match=r"scores.json: unknown kind of file"):
        score_file(scorer, bank_csv, tmp_path / "scores.json")
    with pytest.raises(TableError, match=r"there is no folder .*/nowhere"):
        score_file(scorer, bank_csv, tmp_path / "nowhere" / "scores.csv")


def test_an_output_over_the_input_is_refused(scorer: Scorer, bank_csv: Path, tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes(bank_csv.read_bytes())
    with pytest.raises(TableError, match="the output would overwrite the input"):
        score_file(scorer, path, tmp_path / "." / "bank.csv")
    assert path.read_bytes() == bank_csv.read_bytes()


def test_parquet_columns_of_types_no_feature_has_are_refused_by_name(
    scorer: Scorer, bank: pd.DataFrame, tmp_path: Path
) -> None:
    for column, says in (
        (pa.array([[1]] * len(bank)), "row 1, column Age: '[1]' is not a number"),
        (pa.array([dt.date(2020, 1, 2)] * len(bank)), "row 1, column Age: '2020-01-02' is not a number"),
        (pa.array([True] * len(bank)), "row 1, column Age: 'true' is not a number"),
        (pa.array([2**62] * len(bank)), f"row 1, column Age: {float(2**62)} is too large"),
        (pa.array([math.inf] * len(bank)), "row 1, column Age: inf is not a finite number"),
    ):
        table = pa.Table.from_pandas(bank)
        parquet.write_table(table.set_column(table.column_names.index("Age"), "Age", column), tmp_path / "bank.parquet")
        assert says in refusal(scorer, tmp_path / "bank.parquet")


# --- Reading a batch: the vectorised way says what the rule for one value says ----------------------------------------

FEATURES = (
    Feature("x", "number", minimum=-5, maximum=1e6),
    Feature("x", "number", nullable=True),
    Feature("x", "integer", nullable=True),
    Feature("x", "flag"),
    Feature("x", "flag", nullable=True),
    Feature("x", "category", categories=("a", "NO", "1", "2.5")),
    Feature("x", "category", categories=("a", "1"), nullable=True),
)
texts = st.one_of(
    st.sampled_from(
        [*sorted(MISSING_WORDS), "a", " a ", "1", "1.0", " 1", "2.5", "NO", "yes", "?", "1_0", "inf", "1e9"]
    ),
    st.floats(allow_nan=False).map(repr),
    st.text(max_size=4),
)


def one_by_one(feature: Feature, cells: list[Any]) -> tuple[list[float], list[int]]:
    numbers, wrong = [], []
    for row, cell in enumerate(cells):
        try:
            if isinstance(cell, str):
                cell = cell.strip()
                numbers.append(feature.parse("" if cell in MISSING_WORDS else cell))
            else:
                numbers.append(feature.encode(None if cell is None or math.isnan(cell) else cell))
        except InvalidValueError:
            wrong.append(row)
    return numbers, wrong


def check(feature: Feature, cells: list[Any], column: pa.Array) -> None:
    numbers, wrong = one_by_one(feature, cells)
    schema = Schema((feature,), "left")
    batch = pa.record_batch([column], ["x"])
    if wrong:
        with pytest.raises(InvalidCustomersError) as error:
            encode_batch(schema, batch).check()
        assert [bad.row for bad in error.value.violations] == wrong
        assert {bad.reason for bad in error.value.violations} != {"is not allowed"}
    else:
        assert repr(encode_batch(schema, batch).check()[:, 0].tolist()) == repr(numbers)


@example(feature=FEATURES[5], cells=[" a ", "a"], large=False)
@example(feature=FEATURES[6], cells=[" NA ", " ", "a"], large=True)
@example(feature=FEATURES[1], cells=[" NA ", " ", " 1 "], large=False)
@given(feature=st.sampled_from(FEATURES), cells=st.lists(st.none() | texts, max_size=6), large=st.booleans())
def test_text_is_read_as_the_rule_for_one_cell_reads_it(feature: Feature, cells: list[Any], *, large: bool) -> None:
    column = pa.array(cells, pa.large_string() if large else pa.string())
    check(feature, cells, column)
    check(feature, cells, column.dictionary_encode())


@given(st.sampled_from(FEATURES[:5]), st.lists(st.none() | st.floats() | st.integers(-3, 3).map(float), max_size=6))
def test_numbers_are_read_as_the_rule_for_one_value_reads_them(feature: Feature, cells: list[Any]) -> None:
    check(feature, cells, pa.array(cells, pa.float64()))


@given(st.sampled_from(FEATURES[:5]), st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2)))
def test_whole_numbers_are_read_as_the_rule_for_one_value_reads_them(feature: Feature, cells: list[Any]) -> None:
    check(feature, cells[:MAX_VIOLATIONS], pa.array(cells[:MAX_VIOLATIONS], pa.int64()))


@pytest.mark.parametrize("feature", FEATURES[:5])
def test_truth_values_are_flags_and_never_quantities(feature: Feature) -> None:
    check(feature, [True, False], pa.array([True, False]))


@pytest.mark.parametrize("feature", FEATURES)
def test_a_column_of_nothing_is_missing(feature: Feature) -> None:
    check(feature, [None, None], pa.nulls(2))


def test_whole_numbers_may_be_categories() -> None:
    schema = Schema((Feature("x", "category", categories=("1", "2"), nullable=True),), "left")
    for column in (pa.array([1, 2, None]), pa.array([1.0, 2.0, None]), pa.array(["1", "2", ""])):
        found = encode_batch(schema, pa.record_batch([column], ["x"])).check()
        assert repr(found[:, 0].tolist()) == repr([0.0, 1.0, math.nan])


def test_decimals_are_read_to_the_nearest_number() -> None:
    cells = [decimal.Decimal(f"{number}.95") for number in range(61_000, 61_200)]
    schema = Schema((Feature("x", "number"),), "left")
    found = encode_batch(schema, pa.record_batch([pa.array(cells)], ["x"])).check()
    assert found[:, 0].tolist() == [float(cell) for cell in cells]


def test_the_answer_can_be_read_by_others(scorer: Scorer, bank_csv: Path, tmp_path: Path) -> None:
    for form, read in (("csv", csv.read_csv), ("parquet", parquet.read_table)):
        score_file(scorer, bank_csv, tmp_path / f"scores.{form}")
        table = read(tmp_path / f"scores.{form}")
        assert table.schema.field("probability").type == pa.float64()
        assert table.schema.field("churn").type == pa.bool_()
        assert np.isfinite(table.column("probability").to_numpy()).all()
