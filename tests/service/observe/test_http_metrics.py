"""Metrics: they count what happened, with labels a stranger can't multiply."""

from __future__ import annotations

import re
import sys
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundles import CUSTOMER
from running import read_metrics, start

from service.observe.metrics import SCORES, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
OK = 'churn_requests_total{method="POST",route="/predict",status="200"}'


@pytest.fixture
def client(bank_models: Path) -> Iterator[TestClient]:
    with start(bank_models) as client:
        yield client


def test_customers_requests_and_scores_are_counted(client: TestClient) -> None:
    started = time.perf_counter()
    customers = [CUSTOMER | {"Age": age} for age in range(20, 60)]
    alone = [client.post("/predict", json=customer).json() for customer in customers[:3]]
    batch = client.post("/predict", json={"customers": customers}).json()["predictions"]
    everyone = alone + batch
    metrics = read_metrics(client)
    assert metrics[OK] == 4
    assert metrics['churn_request_duration_seconds_count{route="/predict"}'] == 4
    seconds = metrics['churn_request_duration_seconds_sum{route="/predict"}']
    assert 0 < seconds < time.perf_counter() - started
    assert metrics['churn_customers_total{decision="churn"}'] == sum(one["churn"] for one in everyone)
    assert metrics['churn_customers_total{decision="stay"}'] == sum(not one["churn"] for one in everyone)
    assert metrics["churn_score_count"] == len(everyone)
    assert metrics["churn_score_sum"] == pytest.approx(sum(one["probability"] for one in everyone))
    for bound in SCORES:
        expected = sum(one["probability"] <= bound for one in everyone)
        assert metrics[f'churn_score_bucket{{le="{bound}"}}'] == expected
    assert metrics['churn_batch_size_bucket{le="1.0"}'] == 3
    assert metrics['churn_batch_size_bucket{le="100.0"}'] == 4
    assert metrics["churn_requests_in_flight"] == 0


def test_refusals_are_counted_by_reason(client: TestClient) -> None:
    client.post("/predict", json={})
    client.post("/predict", json={"customers": [{}] * 20_000})
    client.post("/predict", content=b"{", headers={"content-type": "application/json"})
    client.post("/predict", content=b"{")
    metrics = read_metrics(client)
    for reason, status in (
        ("invalid-customers", 422),
        ("too-many-customers", 413),
        ("malformed-json", 400),
        ("unsupported-media-type", 415),
    ):
        assert metrics[f'churn_rejected_requests_total{{reason="{reason}"}}'] == 1
        assert metrics[f'churn_requests_total{{method="POST",route="/predict",status="{status}"}}'] == 1
    assert metrics["churn_score_count"] == 0


def test_failures_are_there_before_they_happen_so_that_the_first_is_an_increase(client: TestClient) -> None:
    metrics = read_metrics(client)
    for series in (
        'churn_requests_total{method="POST",route="/predict",status="500"}',
        'churn_requests_total{method="POST",route="/predict",status="503"}',
        'churn_rejected_requests_total{reason="overloaded"}',
        'churn_model_loads_total{outcome="failed"}',
    ):
        assert metrics[series] == 0


def test_strangers_make_no_new_series(client: TestClient) -> None:
    for path in ("/a", "/b?c=d", "/predict/1", "/docs-static/x", "/docs-static/swagger-ui.css", "/health/live"):
        client.get(path)
    client.request("BREW", "/predict")
    labels = {
        re.sub(r".*(method=.*)}", r"\1", name)
        for name in read_metrics(client)
        if name.startswith("churn_requests_total") and "/health/ready" not in name
    }
    assert labels == {
        'method="POST",route="/predict",status="200"',
        'method="POST",route="/predict",status="499"',
        'method="POST",route="/predict",status="504"',
        'method="POST",route="/predict",status="500"',
        'method="POST",route="/predict",status="503"',
        'method="other",route="/predict",status="405"',
        'method="GET",route="other",status="404"',
        'method="GET",route="/docs-static",status="404"',
        'method="GET",route="/docs-static",status="200"',
        'method="GET",route="/health/live",status="200"',
    }


def test_every_metric_is_documented_with_its_labels_and_help(client: TestClient) -> None:
    client.post("/predict", json=CUSTOMER)
    client.post("/predict", json={})
    document = DOCUMENT.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(churn_\w+)` \| (.*) \|$", document, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\w+) (.*)$", client.get("/metrics").text, re.MULTILINE))
    assert rows.keys() == helps.keys()
    for name, words in helps.items():
        assert words in rows[name]
    for name in read_metrics(client):
        for label in re.findall(r'(\w+)="', name):
            base = re.sub(r"_(bucket|sum|count)$", "", name.split("{")[0])
            assert label == "le" or f"`{label}`" in rows[base]


def test_memory_is_read_while_tensorflow_is_only_half_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A tick of the server may come in the middle of an import that takes seconds in another thread."""
    monkeypatch.setitem(sys.modules, "tensorflow", types.ModuleType("tensorflow"))
    process = Metrics().process
    process.update()
