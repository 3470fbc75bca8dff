"""Tables of outcomes: read with every fault named, loaded once, corrected with a trace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from churn.errors import TableError
from records.journal import list_entries
from records.judging import outcomes
from records.judging.outcome_file import Columns, read_outcomes
from records.judging.outcomes import find_outcomes, load_outcomes

if TYPE_CHECKING:
    from pathlib import Path

    from records.store import RecordStore

GOOD = "customer,date,left\n1,2026-03-01,1\n2,2026-03-02,0\n"


def table(tmp_path: Path, text: str = GOOD, name: str = "outcomes.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_by_its_columns(tmp_path: Path) -> None:
    text = "note;Kunde;Datum;weg\nx;7;31.12.2025;ja\n;8 ;2026-01-02;Yes\n".replace("ja", "true")
    found = read_outcomes(table(tmp_path, text), Columns("Kunde", "Datum", "weg", "%d.%m.%Y"))
    assert found.faults == ()
    assert (found.customers, found.days.tolist(), found.left.tolist()) == (["7", "8"], [20453, 20455], [True, True])
    assert (found.rows, found.name) == (2, "outcomes.csv")


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    import pandas as pd

    path = tmp_path / "outcomes.parquet"
    days = pd.Series(["2026-03-01", "2026-03-02", None], dtype="datetime64[s]")
    pd.DataFrame({"customer": [1.0, 2.0, 3.0], "date": days, "left": [True, False, True]}).to_parquet(path)
    found = read_outcomes(path)
    assert (found.customers, found.left.tolist()) == (["1", "2"], [True, False])
    assert found.days.tolist() == read_outcomes(table(tmp_path)).days.tolist()
    assert [fault.split(";")[0] for fault in found.faults] == ["row 3: date is missing"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("3,2026-02-30,1", "line 4: date is not a date"),
        ("3,1 March,1", "line 4: date is not a date"),
        ("3,2026-03-01,2", "line 4: left is not"),
        ("3,2026-03-01,", "line 4: left is missing"),
        ("3,,1", "line 4: date is missing"),
        (",2026-03-01,1", "line 4: customer is missing"),
        (" ,2026-03-01,1", "line 4: customer is missing"),
        ("3,2026-03-01", "line 4: the row has 2 fields"),
        ("1,2026-03-01,0", "line 4: says the opposite of line 2"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_reason(tmp_path: Path, row: str, fault: str) -> None:
    found = read_outcomes(table(tmp_path, f"{GOOD}{row}\n5,2026-03-05,0\n"))
    assert len(found.faults) == 1
    assert found.faults[0].startswith(fault)
    contradicts = "opposite" in fault
    assert found.faulty == 1 + contradicts
    assert found.customers == (["2", "5"] if contradicts else ["1", "2", "5"])
    with pytest.raises(TableError, match=r"nothing is loaded.*\n") as error:
        found.require_faultless()
    assert fault in str(error.value)


def test_a_date_in_the_future_is_a_fault(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    rows = [f"1,{now:%Y-%m-%d},1", f"2,{now + timedelta(days=3):%Y-%m-%d},1"]
    found = read_outcomes(table(tmp_path, "customer,date,left\n" + "\n".join(rows)))
    assert found.customers == ["1"]
    assert found.faults[0].startswith("line 3: date")


def test_a_long_list_of_faults_is_cut(tmp_path: Path) -> None:
    found = read_outcomes(table(tmp_path, GOOD + "x,y,z\n" * 50))
    assert len(found.faults) == 100
    assert found.faulty == 50
    assert found.list_faults().endswith("… and 80 more")


@pytest.mark.parametrize(
    ("text", "name", "columns", "message"),
    [
        (
            "a,b\n1,2\n",
            "outcomes.csv",
            Columns(),
            r"columns are missing: customer, date, left; found: a, b.*--customer",
        ),
        ("customer,date,left,left\n", "outcomes.csv", Columns(), "occur twice: left"),
        (GOOD, "outcomes.xls", Columns(), "unknown kind of file"),
        (GOOD, "outcomes.csv", Columns("left", "date", "left"), "are three columns"),
        ("no parquet", "outcomes.parquet", Columns(), "can't be read"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str, name: str, columns: Columns, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_outcomes(table(tmp_path, text, name), columns)


def test_outcomes_are_loaded_once(store: RecordStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "LOADED_ROWS", 7)
    rows = [f"{number},2026-03-{1 + number % 28:02},{number % 2}" for number in range(50)]
    found = read_outcomes(table(tmp_path, "customer,date,left\n" + "\n".join([*rows, rows[3]])))
    assert load_outcomes(store, found) == (50, 1, 0)
    assert load_outcomes(store, found) == (0, 51, 0)
    with store.reading() as connection:
        entries = [json.loads(entry.detail) for entry in list_entries(connection, "outcomes")]
    assert [(entry["new"], entry["same"], entry["sha256"]) for entry in entries] == [
        (50, 1, found.sha256), (0, 51, found.sha256),
    ]  # fmt: skip
    (one,) = find_outcomes(store, 3)
    assert (one.date, one.churned, one.corrections) == ("2026-03-04", True, [])


def test_a_correction_replaces_with_a_trace(store: RecordStore, tmp_path: Path) -> None:
    first = "customer,date,left\n1,2026-03-01,1\n1,2026-04-01,0\n"
    for text, expected in ((first, (2, 0, 0)), (first.replace("01,1", "01,0"), (0, 1, 1)), (first, (0, 1, 1))):
        assert load_outcomes(store, read_outcomes(table(tmp_path, text))) == expected
    march, april = find_outcomes(store, "1")
    assert (march.date, march.churned, april.corrections) == ("2026-03-01", True, [])
    assert [one["churned"] for one in march.corrections] == [True, False]
    moments = [one["loaded"] for one in march.corrections]
    assert moments == sorted(map(str, moments))
    assert moments[0] == april.loaded < march.loaded
