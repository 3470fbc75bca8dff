"""Reasons in the columns of tables over HTTP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, WIDE, publish
from problems import assert_problem
from running import read_metrics, start
from table_requests import ARROW, post, read_arrow, read_csv, to_arrow, to_csv

from churn.reasons.strongest import ReasonWriter

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

CUSTOMERS: list[dict[str, Any]] = [
    CUSTOMER | {"CustomerId": number, "Age": 30 + 7 * number, "Geography": BANK["Geography"].categories[number % 3]}
    for number in range(5)
]


def expected_of(client: TestClient, customer: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the columns for a customer as JSON tells its reasons."""
    answer = client.post(f"/predict?reasons={count}", json=customer).json()
    columns: dict[str, Any] = {"base": answer["base"]}
    for number in range(count):
        reason = answer["reasons"][number] if number < len(answer["reasons"]) else {}
        columns |= {
            f"reason_{number + 1}": reason.get("field"),
            f"reason_{number + 1}_points": reason.get("points"),
            f"reason_{number + 1}_sentence": reason.get("sentence"),
        }
    return columns


def without_reasons(row: dict[str, Any]) -> dict[str, Any]:
    return {name: cell for name, cell in row.items() if not name.startswith(("base", "reason_"))}


def test_arrow_has_the_reasons_that_json_has(client: TestClient) -> None:
    table = to_arrow(CUSTOMERS, batch_rows=2)
    rows = read_arrow(post(client, table, ARROW, "?reasons=3").content)
    plain = read_arrow(post(client, table, ARROW).content)
    for customer, row, before in zip(CUSTOMERS, rows, plain, strict=True):
        assert row == before | expected_of(client, customer, 3)
        assert list(row) == [*before, *expected_of(client, customer, 3)]


def test_csv_has_the_reasons_that_json_has(client: TestClient) -> None:
    rows = read_csv(post(client, to_csv(CUSTOMERS), query="?reasons=2").content)
    plain = read_csv(post(client, to_csv(CUSTOMERS)).content)
    for customer, row, before in zip(CUSTOMERS, rows, plain, strict=True):
        expected = expected_of(client, customer, 2)
        assert without_reasons(row) == before
        assert list(row) == [*before, *expected]
        for name, cell in expected.items():
            assert (float(row[name]) if isinstance(cell, float) else row[name]) == cell


def test_all_has_a_group_of_columns_for_each_field(client: TestClient) -> None:
    (row,) = read_arrow(post(client, to_arrow(CUSTOMERS[:1]), ARROW, "?reasons=all").content)
    assert {row[f"reason_{number}"] for number in range(1, 11)} == {*BANK.names}
    assert round(row["base"] + sum(row[f"reason_{n}_points"] for n in range(1, 11)), 6) == row["probability"]


@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_invalid_rows_have_no_reasons_and_the_others_keep_theirs(client: TestClient, form: str) -> None:
    rows = [CUSTOMERS[0], CUSTOMERS[1] | {"Age": -3}, CUSTOMERS[2]]
    if form == "csv":
        body = to_csv(rows).replace(b"\n2,", b"\nbroken\n2,") + b"short\n"
        found = read_csv(post(client, body, query="?reasons=2&on_error=reject").content)
        assert len(found) == 4
        found.pop()
    else:
        found = read_arrow(post(client, to_arrow(rows), ARROW, "?reasons=2&on_error=reject").content)
    for row, customer in ((found[0], rows[0]), (found[2], rows[2])):
        expected = expected_of(client, customer, 2)
        assert (row["reason_1"], float(row["base"])) == (expected["reason_1"], expected["base"])
        assert row["reason_2_sentence"] == expected["reason_2_sentence"]
        assert not row["error"]
    assert "Age is too small" in found[1]["error"]
    assert not any(cell for name, cell in found[1].items() if name.startswith(("base", "reason_")))
    assert list(found[0])[-1] == "error"


def test_estimates_have_a_column_with_their_standard_error(tmp_path: Path) -> None:
    customer = {name: float(number) for number, name in enumerate(WIDE.names)}
    publish(tmp_path, WIDE, customer, background=2)
    with start(tmp_path) as client:
        (row,) = read_arrow(post(client, to_arrow([customer]), ARROW, "?reasons=1").content)
        (reason,) = client.post("/predict?reasons=1", json=customer).json()["reasons"]
    assert list(row)[-4:] == ["reason_1", "reason_1_points", "reason_1_sentence", "reason_1_standard_error"]
    assert row["reason_1_standard_error"] == reason["standard_error"]


def test_a_column_that_is_called_like_the_identifier_is_renamed(tmp_path: Path) -> None:
    publish(tmp_path, replace(BANK, identifier="Reason_1"), CUSTOMER, background=2)
    with start(tmp_path) as client:
        (row,) = read_arrow(post(client, to_arrow([CUSTOMER | {"Reason_1": "me"}]), ARROW, "?reasons=1").content)
    assert row["Reason_1"] == "me"
    assert row["predicted_reason_1"] in BANK.names
    assert "reason_1_points" in row


def test_tables_without_rows_have_the_columns(client: TestClient) -> None:
    header = to_csv(CUSTOMERS[:1]).split(b"\n")[0] + b"\n"
    text = post(client, header, query="?reasons=1").text
    assert text == "CustomerId,probability,churn,model_version,base,reason_1,reason_1_points,reason_1_sentence\n"


@pytest.mark.parametrize("query", ["?reasons=2", "?reasons=2&on_error=reject"])
def test_longer_tables_than_the_limit_are_refused(bank_models: Path, query: str) -> None:
    with start(bank_models, max_reasoned=4) as client:
        assert post(client, to_arrow(CUSTOMERS[:4], batch_rows=3), ARROW, query).status_code == 200
        problem = assert_problem(
            post(client, to_arrow(CUSTOMERS, batch_rows=3), ARROW, query), 413, "too-many-customers"
        )
        assert "4 customers in one request (CHURN_MAX_REASONED)" in problem["detail"]
        assert post(client, to_csv(CUSTOMERS)).status_code == 200


def test_bad_numbers_and_models_without_background_are_refused(odd_client: TestClient, client: TestClient) -> None:
    assert_problem(post(client, to_csv(CUSTOMERS), query="?reasons=x"), 400, "invalid-parameter")
    assert_problem(post(odd_client, b"class\n", query="?reasons=2"), 409, "no-background")


def test_they_are_counted_and_the_thread_is_free_after_each_customer(
    bank_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = []
    write = ReasonWriter.write

    with start(bank_models) as client:
        progress = client.app.processor.progress  # type: ignore[attr-defined]

        def watch(self: Any, *arguments: Any) -> Any:
            pieces.append(progress._begun)
            return write(self, *arguments)

        monkeypatch.setattr(ReasonWriter, "write", watch)
        post(client, to_csv(CUSTOMERS), query="?reasons=1")
        metrics = read_metrics(client)
    assert len({*pieces}) == len(pieces) == len(CUSTOMERS)
    assert metrics["churn_reasons_duration_seconds_count"] == 1
    assert metrics["churn_reasoned_customers_total"] == len(CUSTOMERS)
    assert metrics["churn_reasons_evaluations_total"] > 0
    assert metrics["churn_batch_size_sum"] == len(CUSTOMERS)
