"""Training tables from recorded customers with outcomes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from databases import make_empty
from record_samples import make_decision, write

from churn.errors import TableError
from churn.feature import Feature
from churn.schema import Schema
from records.judging.judge import Plan
from records.judging.outcome_file import read_outcomes
from records.judging.outcomes import load_outcomes
from records.store import RecordStore, open_store
from records.times import HOUR
from training.recorded import load_recorded

if TYPE_CHECKING:
    from pathlib import Path

MARCH = 1_772_323_200 * 1_000_000
DAY = 24 * HOUR
SCHEMA = Schema((Feature("age", "integer", minimum=0), Feature("city", "category", categories=("Bern", "Zug"))), "left")
PLAN = Plan(30, 12, MARCH + 200 * DAY)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RecordStore:
    return open_store(make_empty(request.param, request, tmp_path), create=True)


def record(store: RecordStore, tmp_path: Path, *, months: int = 2, customers: int = 60, known: int = 50) -> None:
    """Record customers on 1 March and 31 days later; those below `known` have outcomes: every third left in April."""
    decisions = [
        make_decision(
            time=MARCH + 31 * month * DAY + number, customer_id=str(number),
            input=json.dumps({"age": 20 + number + month, "city": "Bern" if number % 2 else "Zug"}),
        )
        for month in range(months) for number in range(customers)
    ]  # fmt: skip
    write(store, decisions)
    path = tmp_path / "outcomes.csv"
    rows = [f"{number},{'2026-04-20,1' if number % 3 == 0 else '2026-06-01,0'}" for number in range(known)]
    path.write_text("customer,date,left\n" + "\n".join(rows))
    load_outcomes(store, read_outcomes(path))


def test_each_customer_is_there_once_with_the_newest_record(store: RecordStore, tmp_path: Path) -> None:
    record(store, tmp_path)
    dataset = load_recorded(store, PLAN, SCHEMA)
    assert dataset.raw[:, 0].tolist() == [21 + number for number in range(50)]
    assert dataset.raw[:4, 1].tolist() == [1, 0, 1, 0]
    assert dataset.labels.tolist() == [float(number % 3 == 0) for number in range(50)]
    source: Any = dataset.source
    assert (source["rows"], source["rows_used"], source["rows_left_out"], source["rows_repeated"]) == (120, 50, 20, 50)
    assert dataset.schema["age"].trained_minimum == 21
    assert "records of 2026-03 to 2026-04" in dataset.notes[0]
    assert load_recorded(store, PLAN, SCHEMA).source == source


def test_records_that_the_schema_does_not_allow_are_left_out(store: RecordStore, tmp_path: Path) -> None:
    record(store, tmp_path, months=1)
    narrow = Schema((Feature("age", "integer", minimum=25), SCHEMA["city"]), "left")
    dataset = load_recorded(store, replace(PLAN, horizon=60), narrow)
    assert dataset.source["rows_with_faults"] == 5
    assert len(dataset.labels) == 45
    assert dataset.notes[-1] == "5 records are left out whose input the schema does not allow."


def test_what_is_too_little_or_too_good_is_refused(store: RecordStore, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there are no records to train on"):
        load_recorded(store, PLAN, SCHEMA)
    record(store, tmp_path, known=20)
    with pytest.raises(TableError, match="only 7 usable customers left"):
        load_recorded(store, PLAN, SCHEMA)


def test_a_column_that_tells_the_outcome_is_refused_unless_it_is_kept(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'records.db'}", create=True)
    decisions = [make_decision(time=MARCH + number, customer_id=str(number),
                               input=json.dumps({"age": 30 + 40 * (number % 3 == 0), "city": "Zug"}))
                 for number in range(600)]  # fmt: skip
    write(store, decisions)
    path = tmp_path / "outcomes.csv"
    rows = [f"{number},{'2026-03-20,1' if number % 3 == 0 else '2026-06-01,0'}" for number in range(600)]
    path.write_text("customer,date,left\n" + "\n".join(rows))
    load_outcomes(store, read_outcomes(path))
    with pytest.raises(TableError, match="age"):
        load_recorded(store, PLAN, SCHEMA)
    assert np.mean(load_recorded(store, PLAN, SCHEMA, keep=["age"]).labels) == pytest.approx(1 / 3)
