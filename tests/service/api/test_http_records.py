"""`GET /records` and `POST /records/replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from keyed import add_key
from running import start
from waiting import wait_until

from records.find import find
from records.removal import erase
from records.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.testclient import TestClient


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'records.db'}"


@pytest.fixture
def client(bank_models: Path, url: str) -> Iterator[TestClient]:
    with start(bank_models, records=url, records_mode="durable") as client:
        yield client


def score(client: TestClient, name: Any, request: str = "", query: str = "") -> dict[str, Any]:
    headers = {"X-Request-ID": request} if request else {}
    answer: dict[str, Any] = client.post(
        f"/predict{query}", json={**CUSTOMER, "CustomerId": name}, headers=headers
    ).json()
    return answer


def test_records_of_a_customer_and_of_a_request_are_found(client: TestClient) -> None:
    first = score(client, 7, "first")
    second = score(client, "7", "second", "?reasons=1")
    score(client, 8, "third")
    answer = client.get("/records", params={"customer": "7"}).json()
    assert answer["next"] is None
    assert [record["request_id"] for record in answer["records"]] == ["second", "first"]
    newest, oldest = answer["records"]
    assert newest["reasons"] == second["reasons"]
    assert oldest["input"] == {**CUSTOMER, "CustomerId": 7}
    assert {name: oldest[name] for name in ("probability", "churn", "model_version")} == {
        name: first[name] for name in ("probability", "churn", "model_version")
    }
    assert (oldest["writer"], oldest["sequence"], oldest["key"], oldest["customer_id"]) == (1, 1, None, "7")
    assert set(oldest) == {
        "time", "request_id", "key", "customer_id", "input", "probability", "churn", "threshold", "model_version",
        "manifest_sha256", "engine", "reasons", "writer", "sequence",
    }  # fmt: skip
    (third,) = client.get("/records", params={"request": "third"}).json()["records"]
    assert third["customer_id"] == "8"
    assert client.get("/records", params={"customer": "7", "until": "2026-01-01"}).json()["records"] == []
    assert len(client.get("/records", params={"customer": "7", "since": "1h"}).json()["records"]) == 2


def test_pages_follow_each_other(client: TestClient) -> None:
    for _ in range(5):
        score(client, 7)
    seen, cursor = [], None
    while True:
        page = client.get(
            "/records", params={"customer": 7, "limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json()
        seen += [record["sequence"] for record in page["records"]]
        if (cursor := page["next"]) is None:
            break
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("", 400, "give customer or request"),
        ("?customer=7&since=then", 400, "is not a time"),
        ("?customer=7&cursor=x", 400, "the cursor is invalid"),
        ("?customer=7&cursor=9999999999999999999-1-1", 400, "the cursor is invalid"),
        ("?request=%00", 400, "the request is '\\x00', which is not valid text"),
        ("?customer=7&limit=101", 422, "less than or equal to 100"),
        ("?customer=7&limit=0", 422, "greater than or equal to 1"),
    ],
)
def test_a_question_that_cannot_be_answered_is_explained(
    client: TestClient, query: str, status: int, detail: str
) -> None:
    answer = client.get(f"/records{query}")
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"), [(r'{"customer": "\ud800"}', 400), (r'{"request": "\ud800"}', 400), ('{"customer": true}', 422)]
)
def test_a_replay_of_what_is_no_identifier_is_refused(client: TestClient, body: str, status: int) -> None:
    score(client, 1)
    answer = client.post("/records/replay", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status


def test_a_replay_gives_the_same_and_says_what_differs(client: TestClient, url: str) -> None:
    batch = client.post("/predict", json={"customers": [{**CUSTOMER, "CustomerId": n} for n in range(3)]})
    name = batch.headers["x-request-id"]
    answer = client.post("/records/replay", json={"request": name}).json()
    assert (answer["replayed"], answer["different"], len(answer["records"])) == (3, 0, 3)
    assert all(one["same"] and one["recorded"] == one["replayed"] for one in answer["records"])
    store = open_store(url)
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE churn_records SET probability = 0.123456 WHERE sequence = 2")
    erase(store, 2)
    answer = client.post("/records/replay", json={"request": name}).json()
    assert (answer["replayed"], answer["different"]) == (2, 1)
    told = {one["customer_id"]: one for one in answer["records"]}
    assert (told["1"]["recorded"], told["1"]["same"]) == (0.123456, False)
    assert (told[None]["replayed"], told[None]["reason"]) == (None, "the input was erased")
    assert client.post("/records/replay", json={"customer": 1}).json()["different"] == 1
    assert client.post("/records/replay", json={}).status_code == 422


def test_without_records_there_are_no_routes(bank_models: Path) -> None:
    with start(bank_models) as client:
        assert client.get("/records?customer=7").status_code == 404
        assert client.post("/records/replay", json={"customer": 7}).status_code == 404


def test_the_scope_records_is_needed(bank_models: Path, url: str, tmp_path: Path) -> None:
    keys = {scope: add_key(tmp_path / "keys", scope, [scope]) for scope in ("predict", "records")}
    with start(bank_models, records=url, api_keys=tmp_path / "keys") as client:
        scored = client.post("/predict", json={**CUSTOMER, "CustomerId": 7}, headers={"X-API-Key": keys["predict"]})
        assert scored.status_code == 200
        wait_until(lambda: len(find(open_store(url)).records) == 1)
        for headers, status in (
            ({}, 401),
            ({"X-API-Key": keys["predict"]}, 403),
            ({"X-API-Key": keys["records"]}, 200),
        ):
            answer = client.get("/records?customer=7", headers=headers)
            assert answer.status_code == status
        assert [record["key"] for record in answer.json()["records"]] == ["predict"]


def test_a_store_that_cannot_be_read_is_503(client: TestClient, url: str) -> None:
    store = open_store(url)
    with store.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE churn_records RENAME TO hidden")
    answer = client.get("/records?customer=7")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:churn:records-unavailable")
