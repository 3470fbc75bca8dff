"""Customers a second: counted on every way through the service, and tables are slowed down instead of refused."""

from __future__ import annotations

from math import ceil
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from bundles import CUSTOMER
from keyed import add_key
from running import start
from table_requests import ARROW, CSV, post, read_csv, to_arrow, to_csv

from churn.columns import encode_columns
from churn.reasons.explainer import Explainer
from churn.reasons.strongest import ReasonWriter
from churn.scorer import load_scorer
from service.errors import RequestProblem
from service.guard import caller as caller_module

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from httpx2 import Response
    from starlette.testclient import TestClient

RATE = 100.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(caller_module, "asyncio", SimpleNamespace(sleep=found.sleep))
    return found


@pytest.fixture
def limited(bank_models: Path, tmp_path: Path, clock: Clock) -> Iterator[TestClient]:
    key = add_key(tmp_path / "keys.json", "crm", customers_per_second=RATE)
    with start(bank_models, api_keys=tmp_path / "keys.json") as client:
        app: Any = client.app
        app.gate._verifier._meters._file.clock = clock
        client.headers["X-API-Key"] = key
        yield client


def v2_request(customers: int) -> dict[str, Any]:
    kinds = {str: "BYTES", int: "INT64", float: "FP64", bool: "BOOL"}
    return {
        "inputs": [
            {"name": name, "shape": [customers], "datatype": kinds[type(value)], "data": [value] * customers}
            for name, value in CUSTOMER.items()
        ]
    }


@pytest.mark.parametrize("query", ["", "?extra=ignore"])
def test_a_batch_delays_what_follows(query: str, limited: TestClient, clock: Clock) -> None:
    batch = {"customers": [CUSTOMER] * 500}
    assert limited.post(f"/predict{query}", json=batch).status_code == 200
    refused = limited.post("/predict", json=CUSTOMER)
    assert refused.status_code == 429
    assert refused.headers["ratelimit"] == '"customers";r=0;t=4'
    assert refused.headers["retry-after"] == "4"
    assert refused.json()["type"] == "urn:churn:rate-limited"
    clock.now += 3.9
    assert limited.get("/model").status_code == 429
    clock.now += 0.2
    assert limited.post("/predict", json=CUSTOMER).status_code == 200


def test_tensors_count_as_customers(limited: TestClient) -> None:
    path = "/v2/models/churn/infer"
    first = limited.post(path, json=v2_request(500))
    assert first.status_code == 200, first.text
    refused = limited.post(path, json=v2_request(1))
    assert refused.status_code == 429
    assert "100 customers a second" in refused.json()["error"]


@pytest.mark.parametrize("path", ["/counterfactuals", "/sensitivity?fields=Age"])
def test_a_question_counts_as_one_customer(path: str, limited: TestClient) -> None:
    answers = [limited.post(path, json=CUSTOMER) for _ in range(int(RATE) + 1)]
    assert [answer.status_code for answer in answers] == [200] * int(RATE) + [429]


SENT_WITH_REASONS: dict[str, Callable[[TestClient, int], Response]] = {
    "json": lambda client, count: client.post("/predict?reasons=1", json={"customers": [CUSTOMER] * count}),
    "csv": lambda client, count: post(client, to_csv([CUSTOMER] * count), query="?reasons=1"),
    "tensors": lambda client, count: client.post(
        "/v2/models/churn/infer", json=v2_request(count) | {"parameters": {"reasons": 1}}
    ),
}


@pytest.fixture(scope="module")
def evaluations(bank_models: Path) -> int:
    """Return the mixtures that are scored for the reasons of one customer."""
    scorer = load_scorer(bank_models / "1", "onnx")
    raw = encode_columns(scorer.schema, {name: [CUSTOMER[name]] for name in scorer.schema.names})
    return Explainer(scorer).explain(raw).evaluations


@pytest.mark.parametrize("send", SENT_WITH_REASONS.values(), ids=SENT_WITH_REASONS)
def test_a_customer_with_reasons_counts_for_the_work(
    send: Callable[[TestClient, int], Response], limited: TestClient, clock: Clock, evaluations: int
) -> None:
    assert evaluations > 3 * caller_module.EVALUATIONS
    assert send(limited, 150).status_code == 200
    over = (150 + 150 * evaluations // caller_module.EVALUATIONS - RATE) / RATE
    waited = sum(clock.pauses)
    refused = limited.post("/predict", json=CUSTOMER)
    if waited:  # a table has waited itself
        assert waited == pytest.approx(over, abs=0.02)
    else:
        assert refused.headers["ratelimit"] == f'"customers";r=0;t={ceil(over)}'


@pytest.mark.parametrize("send", SENT_WITH_REASONS.values(), ids=SENT_WITH_REASONS)
def test_customers_whose_reasons_were_dropped_count(
    send: Callable[[TestClient, int], Response],
    limited: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    evaluations: int,
) -> None:
    write, left = ReasonWriter.write, [120]

    def write_in_time(*arguments: Any) -> Any:
        if not left[0]:
            raise RequestProblem(504, "deadline-exceeded", "The request was not scored in time", "in a test")
        left[0] -= 1
        return write(*arguments)

    monkeypatch.setattr(ReasonWriter, "write", write_in_time)
    assert send(limited, 400).status_code == 504
    assert left == [0]
    over = (120 + 120 * evaluations // caller_module.EVALUATIONS - RATE) / RATE
    assert limited.post("/predict", json=CUSTOMER).headers["ratelimit"] == f'"customers";r=0;t={ceil(over)}'


def test_what_is_not_scored_is_no_customer(limited: TestClient) -> None:
    for _ in range(5):
        assert limited.post("/predict", json={"customers": [CUSTOMER] * 400 + [{}]}).status_code == 422
    assert limited.post("/predict", json=CUSTOMER).status_code == 200


@pytest.mark.parametrize("media_type", [CSV, ARROW])
def test_a_table_is_slowed_down_to_the_rate(media_type: str, limited: TestClient, clock: Clock) -> None:
    customers = [CUSTOMER] * 2000
    body = to_csv(customers) if media_type == CSV else to_arrow(customers, 200)
    answer = post(limited, body, media_type)
    assert answer.status_code == 200
    if media_type == CSV:
        assert len(read_csv(answer.content)) == 2000
    assert sum(clock.pauses) == pytest.approx((2000 - RATE) / RATE, rel=0.1)
    assert max(clock.pauses) <= caller_module.PAUSE_SECONDS
    assert limited.post("/predict", json=CUSTOMER).status_code == 200


def test_without_a_limit_nothing_pauses(bank_models: Path, tmp_path: Path, clock: Clock) -> None:
    key = add_key(tmp_path / "keys.json", "crm", requests_per_second=1000)
    with start(bank_models, api_keys=tmp_path / "keys.json") as client:
        client.headers["X-API-Key"] = key
        assert post(client, to_csv([CUSTOMER] * 3000)).status_code == 200
    assert clock.pauses == []
