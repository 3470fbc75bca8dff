"""`churn outcomes` as a person uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from records.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    found = f"sqlite:///{tmp_path / 'records.db'}"
    open_store(found, create=True)
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.csv"
    path.write_text("client,left_on,gone\n1,2026-03-01,1\n2,2026-03-01,0\n3,yesterday,0\n")
    return path


def test_outcomes_are_loaded_by_the_names_of_the_columns(
    churn: Any, url: str, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_RECORDS", url)
    names = ("--customer", "client", "--date", "left_on", "--left", "gone")
    refused = churn("outcomes", "load", table, *names)
    assert refused.code == 1
    assert "line 4: left_on is not a date: 'yesterday'" in refused.err
    assert churn("outcomes", "show", "--customer", 1).code == 1
    loaded = churn("outcomes", "load", table, *names, "--on-bad-row", "drop")
    assert loaded.code == 0
    assert "2 new outcomes, 0 corrected, 0 known or repeated" in loaded.out
    assert "left out 1 of 3 rows" in loaded.err
    table.write_text(table.read_text().replace("01,1", "01,no"))
    assert (
        "0 new outcomes, 1 corrected, 1 known" in churn("outcomes", "load", table, *names, "--on-bad-row", "drop").out
    )
    shown = churn("outcomes", "show", "--customer", 1).out.splitlines()
    assert shown[0].startswith("2026-03-01  still a customer, loaded 20")
    assert shown[1].startswith("            before: left, loaded 20")


def test_a_missing_column_or_store_is_named(churn: Any, url: str, table: Path, tmp_path: Path) -> None:
    answer = churn("outcomes", "load", table, "--records", url)
    assert (answer.code, answer.out) == (1, "")
    assert "columns are missing: customer, date, left" in answer.err
    assert "--customer" in answer.err
    answer = churn("outcomes", "load", table, "--records", f"sqlite:///{tmp_path / 'none.db'}")
    assert answer.code == 1
    assert "does not exist" in answer.err
    assert churn("outcomes", "load", table).code == 2
