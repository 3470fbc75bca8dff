"""A row of the training table is scored alike as it stands, by JSON, CSV and Arrow over HTTP and by `churn score`."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from bank import draw_customers, write_csv
from click.testing import CliRunner
from quick import make_options
from running import start
from table_requests import ARROW, post, read_arrow, read_csv, to_arrow

from cli.main import churn
from training import job
from training.dataset import load_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

ROWS = 600
NAMES = {"Age": "Age ", "CustomerId": " customer id"}


def draw_table() -> pd.DataFrame:
    """Draw customers as people keep them: dates, cities, codes, words for gaps, blanks in names, columns too many."""
    draw = np.random.default_rng(1)
    table = draw_customers(ROWS).astype(object)
    cities = np.where(table.Exited == 1, draw.integers(0, 8, ROWS), draw.integers(0, 45, ROWS))
    since = [date(2012, 1, 1) + timedelta(days=int(days)) for days in draw.integers(0, 2000, ROWS)]
    table["City"] = [f"city {number}" for number in cities]
    table["Since"] = [day.strftime("%d-%m-%y") for day in since]
    table["Renewed"] = [day.strftime("%m/%d/%Y 00:00") if day.day % 5 else "" for day in since]
    table["Offer"] = draw.choice(["None", "Offer A", "Offer B", "NA"], ROWS)
    table["Branch"] = [f"{number:03}" for number in draw.integers(1, 30, ROWS)]
    table["Area"] = draw.choice([408, 415, 510], ROWS)
    table["Balance"] = table.Balance.where(draw.random(ROWS) < 0.9, "NA")
    table["HasCrCard"] = table.HasCrCard.map({0: "No", 1: "Yes"})
    table["Remark"] = [f"remark {number}" for number in range(ROWS)]
    table["Exited"] = table.Exited.map({0: "Stayed", 1: "Churned"})
    return table.rename(columns=NAMES)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("raw") / "bank.csv", draw_table())


@pytest.fixture(scope="module")
def models(table: Path) -> Path:
    dataset = load_dataset(table, category=["Area"])
    kinds = {feature.name: feature.kind for feature in dataset.schema.features}
    assert [kinds[name] for name in ("City", "Since", "Renewed", "Offer", "Branch", "Area")] == [
        "category",
        "date",
        "date",
        "category",
        "category",
        "category",
    ]
    assert dataset.schema["City"].open
    job.train(dataset, table.parent / "models", make_options())
    return table.parent / "models"


@pytest.fixture(scope="module")
def client(models: Path) -> Iterator[TestClient]:
    with start(models) as client:
        yield client


@pytest.fixture(scope="module")
def expected(models: Path, table: Path) -> list[float]:
    """What `churn score` says."""
    output = table.parent / "scores.csv"
    # By the group: click caches the help option of a command's first context, and docs/cli.md is compared with it.
    answer = CliRunner().invoke(
        churn, ["score", str(table), "--output", str(output), "--models", str(models), "--engine", "onnx"]
    )
    assert answer.exit_code == 0, answer.output
    assert len(pd.read_csv(f"{output}.rejects")) == 0
    return [float(probability) for probability in pd.read_csv(output).probability]


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.read_text(), newline="")))


def test_json_rows_as_they_stand_in_the_file(client: TestClient, table: Path, expected: list[float]) -> None:
    rows = rows_of(table)
    answer = client.post("/predict?extra=ignore&texts=parse", json={"customers": rows}).json()
    assert [one["probability"] for one in answer["predictions"]] == pytest.approx(expected, abs=1e-6)
    assert answer["predictions"][0]["customer id"] == rows[0][" customer id"]
    for row, probability in list(zip(rows, expected, strict=True))[:50]:
        one = client.post("/predict?texts=parse&extra=ignore", json=row).json()
        assert one["probability"] == pytest.approx(probability, abs=1e-6)


def test_csv_and_arrow_over_http(client: TestClient, table: Path, expected: list[float]) -> None:
    answer = read_csv(post(client, table.read_bytes()).content)
    assert [float(row["probability"]) for row in answer] == pytest.approx(expected, abs=1e-6)
    rows = [{name.strip(): value for name, value in row.items()} for row in rows_of(table)]
    stream = post(client, to_arrow(rows), ARROW)
    assert stream.status_code == 200, stream.text
    assert [row["probability"] for row in read_arrow(stream.content)] == pytest.approx(expected, abs=1e-6)


def test_typed_json_with_the_same_words_for_gaps(client: TestClient, table: Path, expected: list[float]) -> None:
    """A strict request: numbers as numbers, and every word that training read as a gap or as a category."""
    document = client.get("/openapi.json").json()["components"]["schemas"]["Customer"]
    numeric = ("CreditScore", "Age", "Tenure", "NumOfProducts", "IsActiveMember", "EstimatedSalary")
    for row, probability in list(zip(rows_of(table), expected, strict=True))[:60]:
        fields: dict[str, Any] = {name.strip(): cell for name, cell in row.items()}
        customer = {name: fields[name] for name in document["properties"] if name in fields}
        customer |= {name: float(fields[name]) for name in numeric}
        if fields["Balance"] != "NA":
            customer["Balance"] = float(fields["Balance"])
        answer = client.post("/predict", json=customer)
        assert answer.status_code == 200, answer.text
        assert answer.json()["probability"] == pytest.approx(probability, abs=1e-6)


# --- What is asked for, and only that --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def row(table: Path) -> dict[str, str]:
    return rows_of(table)[0]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "is not a number"),
        ("?extra=ignore", "is not a number"),
        ("?texts=parse", "is not a field of this model"),
        ("?extra=ignore&texts=refuse", "is not a number"),
    ],
)
def test_nothing_is_lenient_unless_it_is_asked_for(client: TestClient, row: Any, query: str, says: str) -> None:
    answer = client.post(f"/predict{query}", json={name.strip(): value for name, value in row.items()})
    assert answer.status_code == 422
    assert says in {error["reason"] for error in answer.json()["errors"]}


def test_numbers_may_have_decimal_commas(client: TestClient, row: Any, expected: list[float]) -> None:
    changed = row | {"EstimatedSalary": row["EstimatedSalary"].replace(".", ",")}
    answer = client.post("/predict?extra=ignore&texts=parse&decimal=,", json=changed)
    assert answer.json()["probability"] == pytest.approx(expected[0], abs=1e-6)
    assert client.post("/predict?extra=ignore&texts=parse", json=changed).status_code == 422


@pytest.mark.parametrize(
    "query",
    ["decimal=;", "extra=all", "texts=", "texts=parse&texts=yes", "texts=strict&texts=parse", "decimal=.&decimal=,"],
)
def test_a_parameter_with_another_value_is_refused(client: TestClient, row: Any, query: str) -> None:
    answer = client.post(f"/predict?{query}", json=row)
    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:churn:invalid-parameter"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"Age ": "old"}, "Age", "is not a number"),
        ({"Age ": "-3"}, "Age", "is too small"),
        ({"Age ": ""}, "Age", "is missing"),
        ({"Age ": ["42"]}, "Age", "is not a number"),
        ({"Since": "31-02-12"}, "Since", "is not a date"),
        ({"Since": 15000}, "Since", "is not a date as text"),
        ({"HasCrCard": "maybe"}, "HasCrCard", "is not a flag"),
        ({"Geography": "Atlantis"}, "Geography", "is an unknown category"),
    ],
)
def test_a_wrong_value_is_refused_however_lenient(
    client: TestClient, row: Any, change: Any, field: str, reason: str
) -> None:
    answer = client.post("/predict?extra=ignore&texts=parse", json=row | change)
    assert answer.status_code == 422
    assert [(error["field"], error["reason"]) for error in answer.json()["errors"]] == [(field, reason)]


def test_a_code_may_be_a_number_where_texts_are_parsed(client: TestClient, row: Any, expected: list[float]) -> None:
    for code in (int(row["Area"]), float(row["Area"])):
        answer = client.post("/predict?extra=ignore&texts=parse", content=json.dumps(row | {"Area": code}))
        assert answer.status_code == 415
        answer = client.post("/predict?extra=ignore&texts=parse", json=row | {"Area": code})
        assert answer.json()["probability"] == pytest.approx(expected[0], abs=1e-6)


def test_a_city_that_nobody_has_seen_and_a_date_far_away_are_scored(client: TestClient, row: Any) -> None:
    changed = row | {"City": "Atlantis", "Since": "2050-01-01"}
    answer = client.post("/predict?extra=ignore&texts=parse", json=changed).json()
    assert 0 <= answer["probability"] <= 1
    (warning,) = answer["warnings"]
    assert (warning["field"], warning["sent"]) == ("Since", "2050-01-01")
    assert warning["trained_maximum"] > "2016-01-01"
