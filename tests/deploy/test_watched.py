"""A real Prometheus scrapes a real service of two workers: what panels show, and what wakes somebody."""

from __future__ import annotations

import http.client
import shutil
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from bank import REPOSITORY
from drift import OLDER_RICHER
from make_dashboards import make_dashboards
from waiting import DEADLINE, wait_until
from watching import Traffic, watch

from churn.bundle import read_bundle
from churn.drift import Drift, population_stability_index
from churn.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Running
    from watching import Watcher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("prometheus") is None, reason="prometheus is not installed (Debian's package prometheus has it)"
    ),
]

WINDOWS = {"1h": "10s", "1d": "20s"}
FIRING = 'ALERTS{alertstate="firing"}'
QUERIES = {
    (name, panel["title"], target["expr"].replace("$feature", "Age"))
    for name, dashboard in make_dashboards().items()
    if name != "performance.json"
    for panel in dashboard["panels"]
    for target in panel["targets"]
}
"""Of all panels but those of judged records: this service keeps none. Their metrics are tested with the judgement."""


def refuse(port: int) -> None:
    """Send what is refused, for the panels of errors."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)) as connection:
        connection.request("POST", "/predict", "{", {"Content-Type": "application/json"})
        assert connection.getresponse().status == 400


@pytest.fixture(scope="module")
def traffic(service: Running) -> Iterator[Traffic]:
    refuse(service.port)
    with Traffic(service.port).flow() as traffic:
        yield traffic
    assert traffic.requests
    assert not traffic.mistakes


@pytest.fixture(scope="module")
def watcher(service: Running, traffic: Traffic, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    del traffic  # it flows
    with watch(service.port, tmp_path_factory.mktemp("prometheus"), WINDOWS, "2s") as watcher:
        wait_until(lambda: watcher.ask("churn:score_customers:increase1d > 1000"), "that customers are counted")
        yield watcher


def test_every_panel_has_data(service: Running, watcher: Watcher) -> None:
    refuse(service.port)
    wait_until(lambda: watcher.ask("churn:rejected_requests:rate5m > 0"), "that the refusal is seen")
    wait_until(lambda: watcher.ask("churn:request_errors:ratio_rate6h"), "a ratio of errors")
    empty = [query for query in sorted(QUERIES) if not watcher.ask(query[2])]
    assert not empty
    not_numbers = [query for query in sorted(QUERIES) if any(one["value"][1] == "NaN" for one in watcher.ask(query[2]))]
    assert not not_numbers


def test_drift_is_that_of_batch_jobs(watcher: Watcher) -> None:
    manifest = read_bundle(Registry(REPOSITORY / "models").current_folder()).manifest
    # Rules are evaluated one after another: wait for the last of them.
    wait_until(lambda: len(watcher.ask("churn:feature_psi:1h")) == len(manifest.schema.features), "an index")
    moment = time.time()
    asked = f"@ {moment}"
    for bins in Drift(manifest).features:
        found = watcher.ask(f'churn:feature_bin_customers:increase1h{{feature="{bins.name}"}} {asked}')
        counts = {one["metric"]["bin"]: float(one["value"][1]) for one in found}
        (index,) = watcher.ask(f'churn:feature_psi:1h{{feature="{bins.name}"}} {asked}')
        expected = population_stability_index(bins.counts, [counts[label] for label in bins.labels])
        assert float(index["value"][1]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_an_older_richer_population_wakes_somebody_and_nothing_else_does(traffic: Traffic, watcher: Watcher) -> None:
    assert not watcher.ask(FIRING)
    traffic.population = OLDER_RICHER

    def fired() -> set[tuple[str, str]]:
        found = watcher.ask('ALERTS{alertstate="firing",severity="critical"}')
        return {(one["metric"]["alertname"], one["metric"].get("feature", "")) for one in found}

    expected = {("ChurnFeatureDrift", "Age"), ("ChurnFeatureDrift", "Balance")}
    wait_until(lambda: fired() >= expected, "the alert")
    time.sleep(5)
    seen = watcher.ask('max_over_time(ALERTS{alertstate="firing"}[5m])')
    assert {(one["metric"]["alertname"], one["metric"].get("feature", "")) for one in seen} == expected
