"""A second version scores the same customers for comparison."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from bundles import BANK, CUSTOMER, ODD, publish
from prometheus_client import CollectorRegistry
from running import read_metrics, start
from waiting import DEADLINE, wait_until

from churn.feature import Feature
from churn.registry import Registry
from churn.schema import Schema
from service.observe import shadow as module
from service.observe.shadow import Shadow
from service.observe.shadow_metrics import MAX_VALUES, Comparison, ShadowMetrics, list_values, summarise
from service.rollout.loading import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.testclient import TestClient


def make_models(root: Path, schema: Schema = BANK) -> Path:
    """Publish a version to serve, and one whose threshold flips every decision to churn."""
    publish(root)
    publish(root, schema, CUSTOMER if schema is BANK else None, threshold=0.0)
    Registry(root).promote(1)
    return root


def wait_for_report(client: TestClient, customers: int) -> dict[str, Any]:
    report: dict[str, Any] = {}

    def is_complete() -> bool:
        report.update(client.get("/model/shadow").json())
        return report["compared"] + report["dropped"] + report["rejected"] == customers

    wait_until(lambda: client.get("/model/shadow").status_code == 200)
    wait_until(is_complete)
    return report


def send(client: TestClient) -> bytes:
    """Send two customers alone, three in a batch and one in a table; return the answer to the first."""
    answer = client.post("/predict", json=CUSTOMER)
    client.post("/predict", json=CUSTOMER | {"Geography": "Spain"})
    client.post("/predict", json={"customers": [CUSTOMER] * 3})
    table = ",".join(CUSTOMER) + "\n" + ",".join(map(str, CUSTOMER.values())) + "\n"
    client.post("/predict", content=table, headers={"content-type": "text/csv"})
    return answer.content


def test_every_customer_is_compared_and_no_answer_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SHARE", float("inf"))
    make_models(tmp_path)
    with start(tmp_path) as client:
        assert client.get("/model/shadow").status_code == 404
        plain = send(client)
        stay = client.post("/predict", json=CUSTOMER).json()["churn"] is False
    with start(tmp_path, shadow_version=2) as client:
        wait_until(lambda: client.get("/model").json().get("shadow") == "2")
        assert send(client) == plain
        report = wait_for_report(client, 6)
        assert (report["champion"], report["shadow"], report["compared"]) == ("1", "2", 6)
        assert report["to_stay"] == 0
        assert report["to_churn"] >= (5 if stay else 0)
        assert sum(one["customers"] for one in report["differences"]) == 6
        (equal,) = [one for one in report["differences"] if one["customers"]]
        assert (equal["above"], equal["up_to"]) == (-0.001, 0.0)
        groups = {(one["feature"], one["value"]): one["customers"] for one in report["subgroups"]}
        assert groups[("Geography", "France")] == 5
        assert groups[("Geography", "Spain")] == 1
        assert groups[("HasCrCard", "1")] == 6
        metrics = read_metrics(client)
        assert metrics['churn_shadow_customers_total{champion="1",outcome="compared",shadow="2"}'] == 6
        assert sum(metrics[name] for name in metrics if name.startswith("churn_customers_total")) == 6


def test_another_schema_rejects_customers_and_fails_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SHARE", float("inf"))
    with start(make_models(tmp_path, ODD), shadow_version=2) as client:
        wait_until(lambda: client.get("/model").json().get("shadow") == "2")
        send(client)
        assert wait_for_report(client, 6)["rejected"] == 6


def test_it_begins_and_ends_over_http_and_when_it_is_promoted(tmp_path: Path) -> None:
    with start(make_models(tmp_path), admin=True) as client:
        assert client.put("/admin/shadow", json={"version": 2}).status_code == 200
        assert client.get("/admin/models").json()["shadow"] == "2"
        thread = client.app.models._shadow._thread  # type: ignore[attr-defined]
        assert client.delete("/admin/shadow").status_code == 200
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert client.get("/model/shadow").status_code == 404
        assert client.put("/admin/shadow", json={"version": 0}).status_code == 422
        assert client.put("/admin/shadow", json={"version": 1}).status_code == 409
        assert client.put("/admin/shadow", json={"version": 2}).status_code == 200
        assert client.post("/admin/models/2/promote").status_code == 200
        assert client.get("/model/shadow").status_code == 404


class Setting:
    """A shadow outside a service, and what it counts."""

    def __init__(self, root: Path) -> None:
        make_models(root)
        self.scorers = [load_model(root / version, "onnx").scorer for version in ("1", "2")]
        self.registry = CollectorRegistry()
        comparison = Comparison(ShadowMetrics(self.registry), "1", "2", self.scorers[0].schema)
        self.shadow = Shadow(self.scorers[0], self.scorers[1], comparison)

    def report(self) -> dict[str, Any]:
        return summarise(self.registry.collect(), "1", "2")

    def offer(self, rows: int) -> None:
        self.shadow.offer(np.zeros((rows, len(BANK.features))), np.full(rows, 0.5))


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    monkeypatch.setattr(module, "BUSY_SHARE", float("inf"))
    return Setting(tmp_path)


def test_more_customers_than_may_wait_are_dropped_at_once(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go = threading.Event(), threading.Event()
    score = setting.scorers[1].score_raw

    def wait(raw: Any) -> Any:
        begun.set()
        assert may_go.wait(DEADLINE)
        return score(raw)

    monkeypatch.setattr(setting.scorers[1], "score_raw", wait)
    setting.offer(1)
    assert begun.wait(DEADLINE)
    setting.offer(module.MAX_WAITING - 5)
    setting.offer(10)
    setting.offer(10)
    assert setting.report()["dropped"] == 15
    may_go.set()
    wait_until(lambda: setting.report()["compared"] == module.MAX_WAITING + 1)
    setting.shadow.close()


def test_customers_are_dropped_while_the_process_is_busy(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SHARE", -1.0)
    setting.offer(2000)
    wait_until(lambda: setting.report()["dropped"] == 2000)
    monkeypatch.setattr(module, "BUSY_SHARE", float("inf"))
    setting.offer(7)
    wait_until(lambda: setting.report()["compared"] == 7)
    setting.shadow.close()


def test_a_shadow_that_fails_goes_on(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(setting.scorers[1], "score_raw", lambda _: 1 / 0)
        setting.offer(3)
        wait_until(lambda: setting.report()["dropped"] == 3)
    setting.offer(4)
    wait_until(lambda: setting.report()["compared"] == 4)
    assert "the shadow 2 failed" in caplog.text
    setting.shadow.close()


def test_differences_and_flips_are_counted_by_direction_and_subgroup() -> None:
    many = tuple(f"v{number}" for number in range(MAX_VALUES + 3))
    schema = Schema(
        (Feature("many", "category", categories=many), Feature("card", "flag", nullable=True)), label="left"
    )
    registry = CollectorRegistry()
    comparison = Comparison(ShadowMetrics(registry), "1", "2", schema)
    raw = np.array([[0, 1], [MAX_VALUES + 2, 0], [1, np.nan], [0, 1]], dtype=float)
    found, other = np.array([0.4, 0.65, 0.5, 0.4]), np.array([0.65, 0.4, 0.5, 0.415])
    comparison.compare(raw, found, other, (found > 0.5, other > 0.5))
    report = summarise(registry.collect(), "1", "2")
    assert (report["compared"], report["to_churn"], report["to_stay"]) == (4, 1, 1)
    groups = {(one["feature"], one["value"]): (one["customers"], one["to_churn"], one["to_stay"])
              for one in report["subgroups"]}  # fmt: skip
    assert groups == {
        ("many", "v0"): (2, 1, 0), ("many", "(other)"): (1, 0, 1), ("many", "v1"): (1, 0, 0),
        ("card", "1"): (2, 1, 0), ("card", "0"): (1, 0, 1), ("card", "missing"): (1, 0, 0),
    }  # fmt: skip
    differences = {(one["above"], one["up_to"]): one["customers"] for one in report["differences"] if one["customers"]}
    assert differences == {(0.2, 0.5): 1, (-0.5, -0.2): 1, (-0.001, 0.0): 1, (0.01, 0.02): 1}
    assert len(list_values(schema.features[0])) == MAX_VALUES + 1
    assert summarise(registry.collect(), "1", "3")["compared"] == 0
