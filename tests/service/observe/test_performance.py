"""GET /performance and the metrics of the last judgement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from record_samples import judge_samples
from running import start
from waiting import wait_until

from records.judging.judgements import save_judgement
from records.store import open_store
from service.observe import performance
from service.observe.performance_metrics import PerformanceMetrics

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient

MARCH = 1_772_323_200


@pytest.fixture
def judgement(tmp_path: Path, bank_models: Path) -> dict[str, Any]:
    """A judgement of 100 customers of March and 50 of May."""
    store = open_store(f"sqlite:///{tmp_path / 'judged.db'}", create=True)
    return judge_samples(store, tmp_path, bank_models)


def scrape(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return the values of the metrics by name and labels, in the order of the labels' names."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families for sample in family.samples if sample.name.startswith("churn_performance")
    }  # fmt: skip


def test_without_records_there_is_no_judgement(client: TestClient) -> None:
    answer = client.get("/performance")
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:churn:no-judgement")
    assert "CHURN_RECORDS" in answer.json()["detail"]
    assert scrape(client)["churn_performance_judged_timestamp_seconds",] == 0


def test_the_last_judgement_is_shown(
    bank_models: Path, tmp_path: Path, judgement: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "REFRESH_SECONDS", 0.01)
    url = f"sqlite:///{tmp_path / 'records.db'}"
    store = open_store(url, create=True)
    with start(bank_models, records=url) as client:
        answer = client.get("/performance")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:churn:no-judgement")
        save_judgement(store, judgement)
        wait_until(lambda: scrape(client)["churn_performance_judged_timestamp_seconds",] > 0)
        assert client.get("/performance").json() == judgement
        shown = scrape(client)
        month = judgement["months"][0]
        assert shown["churn_performance", "low", "roc_auc", "1"] == month["measures"]["roc_auc"]["low"]
        assert shown["churn_performance_expected", "value", "log_loss", "all"] == month["expected"]["log_loss"]["value"]
        forecast = judgement["months"][1]["expected_of_all"]["recall"]["high"]
        assert shown["churn_performance_forecast", "high", "recall"] == forecast
        assert shown["churn_performance_customers", "1"] == 100
        assert shown["churn_performance_group", "value", "Geography", "Spain", "share_left"] == 0.34
        assert shown["churn_performance_month_timestamp_seconds",] == MARCH
        later = judgement | {"months": [], "versions": {}, "training": {}}
        save_judgement(store, later)
        wait_until(lambda: scrape(client)["churn_performance_month_timestamp_seconds",] == 0)
        assert not [key for key in scrape(client) if key[0] in ("churn_performance", "churn_performance_customers")]
        assert client.get("/performance").json() == later


def test_a_store_that_cannot_be_read_is_a_problem(
    bank_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(performance, "REFRESH_SECONDS", 0.01)
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with start(bank_models, records=url) as client:
        wait_until(lambda: client.get("/performance").status_code == 404)
        client.app.performance._store = None  # type: ignore[attr-defined]
        client.app.performance._url = f"sqlite:///{tmp_path / 'none.db'}"  # type: ignore[attr-defined]
        answer = client.get("/performance")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:churn:records-unreadable")
        assert "does not exist" in answer.json()["detail"]
        wait_until(lambda: "the last judgement can't be read" in caplog.text)
    assert caplog.text.count("the last judgement can't be read") <= 2


def test_training_is_shown_with_its_interval() -> None:
    registry = CollectorRegistry()
    number = {"value": 0.87, "low": 0.85, "high": 0.89}
    trained = {"part": "test", "customers": 2000, "roc_auc": number, "log_loss": number}
    PerformanceMetrics(registry).show({"time": "2026-03-01T00:00:00Z", "training": {"3": trained}, "months": []})
    labels = {"version": "3", "measure": "roc_auc", "bound": "low"}
    assert registry.get_sample_value("churn_performance_training", labels) == 0.85
