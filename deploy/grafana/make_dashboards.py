"""Writes Grafana's dashboards: what each panel asks and says stands here, Grafana's JSON is derived from it.

``python deploy/grafana/make_dashboards.py`` writes ``deploy/grafana/dashboards`` anew; a test fails when it is stale.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS, ROW_HEIGHT = 24, 8
MODERATE, SEVERE = 0.1, 0.25


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes
    ----------
    title, says : str
        What it is; what a person reads from it.
    queries : tuple of (str, str)
        PromQL and the legend of its series.
    unit : str
        Grafana's name of it.
    kind : {"timeseries", "stat", "barchart"}
        A bar chart compares its queries bin by bin.
    limits : tuple of float
        Lines at which it becomes yellow and red.
    width : int
        Of `COLUMNS`.
    """

    title: str
    says: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    limits: tuple[float, ...] = ()
    width: int = 8


HEALTH = (
    Panel("Ready workers", "Workers that can score, of those that live.",
          (("sum(churn_ready_workers)", "ready"), ("sum(churn_workers)", "alive")), kind="stat"),
    Panel("Firing alerts", "Of the service; Prometheus' page Alerts names them.",
          (('count(ALERTS{alertname=~"Churn.+",alertstate="firing"}) or vector(0)', "firing"),),
          kind="stat", limits=(1,)),
    Panel("CPU per worker", "Share of the time that workers compute. Above 90 % requests wait.",
          (("churn:cpu_busy:ratio_rate5m", "{{instance}}"),), "percentunit", limits=(0.7, 0.9)),
    Panel("Requests", "Answered a second, by path.",
          (("sum by (route) (churn:requests:rate5m)", "{{route}}"),), "reqps"),
    Panel("Errors by route and status", "4xx are the caller's mistakes, 5xx ours.",
          (('churn:requests:rate5m{status=~"[45].."}', "{{route}} {{status}}"),), "reqps"),
    Panel("Rejected, by reason", "Requests to score that were refused.",
          (("churn:rejected_requests:rate5m", "{{reason}}"),), "reqps"),
    Panel("Share of errors", "5xx among requests to score; the objective is 0.1 % in 30 days.",
          (("churn:request_errors:ratio_rate5m", "5 min"), ("churn:request_errors:ratio_rate1h", "1 h"),
           ("churn:request_errors:ratio_rate6h", "6 h")), "percentunit", limits=(0.001, 0.0144)),
    Panel("Latency of POST /predict", "From a request's headers to its answer.",
          (('churn:request_duration_seconds:quantile_rate5m{route="/predict"}', "quantile {{quantile}}"),), "s",
          limits=(0.25,)),
    Panel("Stages, 95th percentile", "Where the time goes. A long queue: too much arrives.",
          (('churn:request_stage_duration_seconds:quantile_rate5m{quantile="0.95"}', "{{stage}}"),), "s"),
    Panel("In flight", "Requests whose body is arriving or that wait for a thread.",
          (("sum by (instance) (churn_requests_in_flight)", "{{instance}}"),), width=12),
    Panel("Resident memory", "Of all workers; and what TensorFlow holds on GPUs.",
          (("sum by (instance) (churn_resident_memory_bytes)", "{{instance}}"),
           ("sum(churn_gpu_memory_bytes) or vector(0)", "GPU")), "bytes", width=12),
)  # fmt: skip

BEHAVIOUR = (
    Panel("Model", "Which is served, by which engine, where. More than one: a change is under way.",
          (("churn_model_info", "version {{version}}, {{engine}}, {{device}}"),), kind="stat"),
    Panel("Loads of models", "Since the replicas began.",
          (("sum by (outcome) (churn_model_loads_total)", "{{outcome}}"),), kind="stat"),
    Panel("Customers a second", "By decision.",
          (("churn:customers:rate5m", "{{decision}}"),), "cps"),
    Panel("Share of churn decisions", "Of the customers scored: what campaigns are planned by.",
          (('churn:customers:rate5m{decision="churn"} / ignoring (decision) sum(churn:customers:rate5m)', "churn"),),
          "percentunit"),
    Panel("Mean probability", "Of the customers scored.",
          (("sum(rate(churn_score_sum[5m])) / sum(rate(churn_score_count[5m]))", "mean"),), "percentunit"),
    Panel("Probabilities", "Tenth, half and nine tenths of the customers lie below.",
          tuple((f"histogram_quantile({q}, sum by (le) (rate(churn_score_bucket[5m])))", f"quantile {q}")
                for q in (0.1, 0.5, 0.9)), "percentunit"),
    Panel("Customers in a request", "Mean, and 95 % of the requests have at most so many.",
          (("sum(rate(churn_batch_size_sum[5m])) / sum(rate(churn_batch_size_count[5m]))", "mean"),
           ("histogram_quantile(0.95, sum by (le) (rate(churn_batch_size_bucket[5m])))", "quantile 0.95")), width=12),
    Panel("Probabilities beside training's", "Shares of customers by probability, of the last hour and in training.",
          (("churn:score_bin_customers:share1h", "last hour"), ("churn:score_bin_training_share:max", "training")),
          "percentunit", "barchart", width=12),
)  # fmt: skip

DRIFT = (
    Panel("Stability index of the features, last hour", "Above 0.1 customers have moved, above 0.25 much.",
          (("churn:feature_psi:1h", "{{feature}}"),), limits=(MODERATE, SEVERE), width=12),
    Panel("Stability index of the features, last day", "Above 0.1 customers have moved, above 0.25 much.",
          (("churn:feature_psi:1d", "{{feature}}"),), limits=(MODERATE, SEVERE), width=12),
    Panel("Stability index of the score", "Above 0.1 the scores have moved, above 0.25 much.",
          (("churn:score_psi:1h", "last hour"), ("churn:score_psi:1d", "last day")), limits=(MODERATE, SEVERE)),
    Panel("Customers", "Scored in the windows; fewer than a thousand are too few for an alert.",
          (("churn:score_customers:increase1h", "last hour"), ("churn:score_customers:increase1d", "last day"))),
    Panel("Missing values", "Share of the last hour's customers. 0 where the model allows no gap.",
          (("churn:feature_missing:ratio1h or churn:feature_customers:increase1h * 0", "{{feature}}"),),
          "percentunit"),
    Panel("Out of range", "Share of the last hour's values that lie outside what training saw.",
          (("churn:feature_out_of_range:ratio1h", "{{feature}}"),), "percentunit"),
    Panel("Shares of the bins of $feature", "Of the last hour's customers, over time.",
          (('churn:feature_bin_customers:share1h{feature="$feature"}', "{{bin}}"),), "percentunit"),
    Panel("$feature beside training's", "Shares of customers, of the last hour and in training.",
          (('churn:feature_bin_customers:share1h{feature="$feature"}', "last hour"),
           ('churn:feature_bin_training_share:max{feature="$feature"}', "training")), "percentunit", "barchart"),
)  # fmt: skip

FEATURE = {
    "name": "feature",
    "label": "Feature",
    "type": "query",
    "datasource": SOURCE,
    "query": {"query": "label_values(churn_feature_bin_training_share, feature)", "refId": "feature"},
    "refresh": 1,
    "sort": 1,
}


def make_dashboards() -> dict[str, dict[str, Any]]:
    """Return Grafana's JSON of every dashboard, by file name."""
    return {
        "service-health.json": _make_dashboard("churn-health", "Churn: service health", "now-3h", HEALTH, []),
        "model-behaviour.json": _make_dashboard("churn-behaviour", "Churn: model behaviour", "now-24h", BEHAVIOUR, []),
        "drift.json": _make_dashboard("churn-drift", "Churn: drift", "now-7d", DRIFT, [FEATURE]),
    }


def render(dashboard: dict[str, Any]) -> str:
    """Return a dashboard as its file holds it."""
    return json.dumps(dashboard, indent=1) + "\n"


def _make_dashboard(
    uid: str, title: str, since: str, panels: tuple[Panel, ...], variables: list[dict[str, Any]]
) -> dict[str, Any]:
    made, across, down = [], 0, 0
    for number, panel in enumerate(panels, 1):
        if across + panel.width > COLUMNS:
            across, down = 0, down + ROW_HEIGHT
        place = {"x": across, "y": down, "w": panel.width, "h": ROW_HEIGHT}
        made.append(_make_panel(number, panel, place))
        across += panel.width
    return {
        "uid": uid,
        "title": title,
        "tags": ["churn"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": since, "to": "now"},
        "templating": {"list": variables},
        "links": [{"type": "dashboards", "tags": ["churn"], "title": "Churn", "asDropdown": False}],
        "panels": made,
    }


def _make_panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    is_chart = panel.kind == "barchart"
    targets = [
        {"refId": chr(ord("A") + position), "datasource": SOURCE, "expr": query, "legendFormat": legend}
        | ({"format": "table", "instant": True, "range": False} if is_chart else {})
        for position, (query, legend) in enumerate(panel.queries)
    ]
    colours = ("yellow", "red")[2 - len(panel.limits) :] if panel.limits else ()
    steps = [{"color": "green", "value": None}]
    steps += [{"color": colour, "value": limit} for colour, limit in zip(colours, panel.limits, strict=True)]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        style = "dashed" if panel.limits else "off"
        defaults |= {"min": 0, "custom": {"fillOpacity": 5, "thresholdsStyle": {"mode": style}}}
    made = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
    return made | (_join_bins(panel) if is_chart else {})


def _join_bins(panel: Panel) -> dict[str, Any]:
    """Make one table of the queries' bins, with a column for each query."""
    names = {f"Value #{chr(ord('A') + position)}": legend for position, (_, legend) in enumerate(panel.queries)}
    return {
        "transformations": [
            {"id": "joinByField", "options": {"byField": "bin", "mode": "outer"}},
            {"id": "filterFieldsByName", "options": {"include": {"names": ["bin", *names]}}},
            {"id": "organize", "options": {"renameByName": names}},
        ],
        "options": {"xField": "bin", "xTickLabelRotation": -45},
    }


if __name__ == "__main__":
    for name, dashboard in make_dashboards().items():
        (DASHBOARDS / name).write_text(render(dashboard), encoding="utf-8")
