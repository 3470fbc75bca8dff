"""Grafana's dashboards: in step with what makes them, readable, about metrics that exist."""

from __future__ import annotations

import json
import re

import yaml
from bank import REPOSITORY
from make_dashboards import DASHBOARDS, make_dashboards, render

GRAFANA = REPOSITORY / "deploy" / "grafana"
MADE = make_dashboards()
PANELS = [panel for dashboard in MADE.values() for panel in dashboard["panels"]]


def test_the_files_are_what_the_generator_writes() -> None:
    assert {path.name for path in DASHBOARDS.iterdir()} == set(MADE)
    for name, dashboard in MADE.items():
        found = (DASHBOARDS / name).read_text(encoding="utf-8")
        assert found == render(dashboard), "stale: run python deploy/grafana/make_dashboards.py"


def test_every_panel_says_what_it_is_for_and_no_two_overlap() -> None:
    for dashboard in MADE.values():
        places = [panel["gridPos"] for panel in dashboard["panels"]]
        cells = [(x, p["y"]) for p in places for x in range(p["x"], p["x"] + p["w"])]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24
    assert all(panel["description"] and panel["targets"] for panel in PANELS)


def test_panels_read_metrics_and_records_that_there_are() -> None:
    rules = "".join(path.read_text() for path in (REPOSITORY / "deploy/prometheus/rules").glob("*.yml"))
    recorded = set(re.findall(r"record: (\S+)", rules))
    documented = set(re.findall(r"^\| `(churn_\w+)`", (REPOSITORY / "docs/metrics.md").read_text(), re.MULTILINE))
    for target in (target for panel in PANELS for target in panel["targets"]):
        assert set(re.findall(r"churn:[\w:]+", target["expr"])) <= recorded
        read = {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bchurn_\w+", target["expr"])}
        assert read <= documented


def test_the_provisioned_source_is_the_one_that_panels_ask() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    provided = {(source["type"], source["uid"]) for source in sources}
    assert {(t["datasource"]["type"], t["datasource"]["uid"]) for panel in PANELS for t in panel["targets"]} == provided
    assert json.loads(render(MADE["drift.json"]))["templating"]["list"][0]["datasource"]["uid"] == sources[0]["uid"]
