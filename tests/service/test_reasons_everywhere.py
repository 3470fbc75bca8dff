"""A customer has the same reasons and support alone, in a batch, as CSV, as Arrow, as tensors and in a file."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pytest
from bundles import BANK, CUSTOMER, publish
from running import start
from table_requests import ARROW, post, read_arrow, read_csv, to_arrow, to_csv

from batch.files.job import FileJob, score_file
from churn.scorer import load_scorer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient

COUNT = 3
CUSTOMERS: list[dict[str, Any]] = [
    CUSTOMER
    | {
        "CustomerId": str(number),
        "Age": 25 + 9 * number,
        "Geography": BANK["Geography"].categories[number % 3],
        "Balance": 1250.55 * number**2,
        "IsActiveMember": number % 2,
    }
    for number in range(7)
]

Support = tuple[float, str, float, float, str]
Told = list[tuple[float, float, list[tuple[str, float, str]], Support]]
"""Of each customer: probability, base, and field, points and sentence of each reason; then the support."""

SUPPORT = ("share", "field", "low", "high", "sentence")


def from_json(prediction: dict[str, Any]) -> tuple[float, float, list[tuple[str, float, str]], Support]:
    reasons = [(reason["field"], reason["points"], reason["sentence"]) for reason in prediction["reasons"]]
    assert tuple(prediction["support"]) == SUPPORT
    return prediction["probability"], prediction["base"], reasons, tuple(prediction["support"].values())


@pytest.fixture(scope="module")
def bank_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("supported")
    publish(root, background=6, support=True)
    return root


@pytest.fixture(scope="module")
def client(bank_models: Path) -> Iterator[TestClient]:
    with start(bank_models) as client:
        yield client


def from_rows(rows: list[dict[str, Any]]) -> Told:
    return [
        (
            float(row["probability"]),
            float(row["base"]),
            [
                (row[f"reason_{n}"], float(row[f"reason_{n}_points"]), row[f"reason_{n}_sentence"])
                for n in range(1, COUNT + 1)
            ],
            (
                float(row["support_share"]),
                row["support_field"],
                float(row["support_low"]),
                float(row["support_high"]),
                row["support_sentence"],
            ),
        )
        for row in rows
    ]


@pytest.fixture(scope="module")
def alone(client: TestClient) -> Told:
    return [from_json(client.post(f"/predict?reasons={COUNT}", json=customer).json()) for customer in CUSTOMERS]


def test_in_a_batch(client: TestClient, alone: Told) -> None:
    answer = client.post(f"/predict?reasons={COUNT}", json={"customers": CUSTOMERS}).json()
    assert [from_json(prediction) for prediction in answer["predictions"]] == alone


def test_as_tables(client: TestClient, alone: Told) -> None:
    query = f"?reasons={COUNT}"
    assert from_rows(read_csv(post(client, to_csv(CUSTOMERS), query=query).content)) == alone
    assert from_rows(read_arrow(post(client, to_arrow(CUSTOMERS), ARROW, query).content)) == alone


def test_as_tensors(client: TestClient, alone: Told) -> None:
    kinds = {str: "BYTES", float: "FP64", int: "INT64"}
    inputs = [
        {
            "name": name,
            "datatype": kinds[type(CUSTOMERS[1][name])],
            "shape": [len(CUSTOMERS)],
            "data": [customer[name] for customer in CUSTOMERS],
        }
        for name in BANK.names
    ]
    body = {"inputs": inputs, "parameters": {"reasons": COUNT}}
    answer = client.post("/v2/models/churn/infer", content=json.dumps(body)).json()
    data = {output["name"]: output["data"] for output in answer["outputs"]}
    reasons = list(zip(data["reasons"], data["reason_points"], data["reason_sentences"], strict=True))
    groups = [reasons[start : start + COUNT] for start in range(0, len(reasons), COUNT)]
    support = list(zip(*(data[f"support_{name}"] for name in SUPPORT), strict=True))
    assert list(zip(data["probability"], data["base"], groups, support, strict=True)) == alone


def test_in_a_file(bank_models: Path, tmp_path: Path, alone: Told) -> None:
    (tmp_path / "in.csv").write_bytes(to_csv(CUSTOMERS))
    job = FileJob(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), reasons=COUNT)
    score_file(load_scorer(bank_models / "1", "onnx"), job)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert from_rows(list(csv.DictReader(file))) == alone


def test_the_support_differs_between_customers_and_its_range_has_the_probability(alone: Told) -> None:
    assert len({support[0] for *_, support in alone}) > 2
    for probability, _, _, (share, field, low, high, sentence) in alone:
        assert 0 < share <= 1
        assert field in BANK.names
        assert low < probability < high
        assert "training customers are like this one" in sentence
