"""Generate the Grafana dashboards from the definitions of their panels.

``python deploy/grafana/make_dashboards.py`` writes ``deploy/grafana/dashboards``; a test fails if they are stale.
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
    """A panel of a dashboard.

    Attributes
    ----------
    title, description : str
    queries : tuple of (str, str)
        PromQL and the legend of its series.
    unit : str
        Name of the unit in Grafana.
    kind : {"timeseries", "stat", "barchart"}
        A bar chart compares the bins of its queries.
    limits : tuple of float
        Thresholds for yellow and red.
    width : int
        In columns of the grid, at most `COLUMNS`.
    """

    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    limits: tuple[float, ...] = ()
    width: int = 8


HEALTH = (
    Panel("Ready workers", "Workers that can score, and all running workers.",
          (("sum(churn_ready_workers)", "ready"), ("sum(churn_workers)", "alive")), kind="stat"),
    Panel("Firing alerts", "Alerts of the service; see the page Alerts in Prometheus.",
          (('count(ALERTS{alertname=~"Churn.+",alertstate="firing"}) or vector(0)', "firing"),),
          kind="stat", limits=(1,)),
    Panel("CPU per worker", "Share of the time in which workers compute. Above 90 % requests wait.",
          (("churn:cpu_busy:ratio_rate5m", "{{instance}}"),), "percentunit", limits=(0.7, 0.9)),
    Panel("Requests", "Requests per second, by path.",
          (("sum by (route) (churn:requests:rate5m)", "{{route}}"),), "reqps"),
    Panel("Errors by route and status", "4xx are errors of the client, 5xx of the service.",
          (('churn:requests:rate5m{status=~"[45].."}', "{{route}} {{status}}"),), "reqps"),
    Panel("Rejected, by reason", "Scoring requests that were rejected.",
          (("churn:rejected_requests:rate5m", "{{reason}}"),), "reqps"),
    Panel("Share of errors", "5xx responses to scoring requests; the objective is 0.1 % in 30 days.",
          (("churn:request_errors:ratio_rate5m", "5 min"), ("churn:request_errors:ratio_rate1h", "1 h"),
           ("churn:request_errors:ratio_rate6h", "6 h")), "percentunit", limits=(0.001, 0.0144)),
    Panel("Latency of POST /predict", "From the headers of a request to the response.",
          (('churn:request_duration_seconds:quantile_rate5m{route="/predict"}', "quantile {{quantile}}"),), "s",
          limits=(0.25,)),
    Panel("Stages, 95th percentile", "Duration of the stages. A long queue means overload.",
          (('churn:request_stage_duration_seconds:quantile_rate5m{quantile="0.95"}', "{{stage}}"),), "s"),
    Panel("In flight", "Requests whose body is arriving or that wait for a thread.",
          (("sum by (instance) (churn_requests_in_flight)", "{{instance}}"),), width=12),
    Panel("Waiting", "Requests that wait for a worker, and how many may; others are rejected.",
          (("sum by (instance) (churn_requests_waiting)", "{{instance}}"),
           ("sum by (instance) (churn_requests_waiting_limit)", "limit of {{instance}}")), width=12),
    Panel("Resident memory", "Memory of all workers, and of TensorFlow on GPUs.",
          (("sum by (instance) (churn_resident_memory_bytes)", "{{instance}}"),
           ("sum(churn_gpu_memory_bytes) or vector(0)", "GPU")), "bytes", width=12),
)  # fmt: skip

BEHAVIOUR = (
    Panel("Model", "Version, engine and device. More than one during a change of model.",
          (("churn_model_info", "version {{version}}, {{engine}}, {{device}}"),), kind="stat"),
    Panel("Loads of models", "Since the replicas were started.",
          (("sum by (outcome) (churn_model_loads_total)", "{{outcome}}"),), kind="stat"),
    Panel("Customers per second", "By decision.",
          (("churn:customers:rate5m", "{{decision}}"),), "cps"),
    Panel("Share of churn decisions", "Share of scored customers who are predicted to leave.",
          (('churn:customers:rate5m{decision="churn"} / ignoring (decision) sum(churn:customers:rate5m)', "churn"),),
          "percentunit"),
    Panel("Mean probability", "Mean over the scored customers.",
          (("sum(rate(churn_score_sum[5m])) / sum(rate(churn_score_count[5m]))", "mean"),), "percentunit"),
    Panel("Probabilities", "10th, 50th and 90th percentile of the scored customers.",
          tuple((f"histogram_quantile({q}, sum by (le) (rate(churn_score_bucket[5m])))", f"quantile {q}")
                for q in (0.1, 0.5, 0.9)), "percentunit"),
    Panel("Customers in a request", "Mean and 95th percentile.",
          (("sum(rate(churn_batch_size_sum[5m])) / sum(rate(churn_batch_size_count[5m]))", "mean"),
           ("histogram_quantile(0.95, sum by (le) (rate(churn_batch_size_bucket[5m])))", "quantile 0.95")), width=12),
    Panel("Changes of the model", "Switches and failed attempts in the last hour.",
          (("sum by (outcome) (increase(churn_model_changes_total[1h]))", "{{outcome}}"),), width=12),
    Panel("Customers per second, by version", "A canary's share shows beside the served version.",
          (("sum by (version) (rate(churn_version_customers_total[5m]))", "version {{version}}"),), "cps", width=12),
    Panel("Share of churn decisions, by version", "Share of scored customers who are predicted to leave.",
          ((('sum by (version) (rate(churn_version_customers_total{decision="churn"}[5m]))'
            " / (sum by (version) (rate(churn_version_customers_total[5m])) > 0)"), "version {{version}}"),),
          "percentunit", width=12),
    Panel("Canary: customers left to the served model", "Per second; the schema of the canary does not allow them.",
          (("sum(rate(churn_canary_fallback_customers_total[5m]))", "customers"),), "cps", width=12),
    Panel("Shadow: customers per second", "By outcome; dropped: the service was busy.",
          (("sum by (shadow, outcome) (rate(churn_shadow_customers_total[5m]))", "shadow {{shadow}}: {{outcome}}"),),
          "cps", width=8),
    Panel("Shadow: changed decisions", "Share of the compared customers for whom the shadow decides otherwise.",
          ((("sum by (shadow, direction) (rate(churn_shadow_flips_total[1h])) / ignoring (direction) group_left"
            ' sum by (shadow) (rate(churn_shadow_customers_total{outcome="compared"}[1h]))'),
            "shadow {{shadow}}: {{direction}}"),), "percentunit", width=8),
    Panel("Shadow: differences", "Probability of the shadow minus that of the served model.",
          tuple((f"histogram_quantile({q}, sum by (shadow, le) (rate(churn_shadow_difference_bucket[1h])))",
                 f"quantile {q}, shadow {{{{shadow}}}}") for q in (0.05, 0.5, 0.95)), width=8),
    Panel("Reasons: customers per second", "Dropped: the time of the request had passed, or its client left.",
          (("sum(rate(churn_reasoned_customers_total[5m]))", "sent"),
           ("sum(rate(churn_reasons_dropped_customers_total[5m]))", "dropped")), "cps", width=8),
    Panel("Reasons: busy threads", "Scoring threads that compute reasons, on average; each worker has one.",
          (("sum(rate(churn_reasons_duration_seconds_sum[5m]))", "threads"),), width=8),
    Panel("What would change it: evaluations per second", "Made-up customers scored for counterfactuals and curves.",
          (("sum by (route) (rate(churn_what_if_evaluations_total[5m]))", "{{route}}"),), "cps", width=8),
    Panel("Counterfactuals per second", "By outcome; none: no allowed changes reach the target.",
          (("sum by (outcome) (rate(churn_counterfactual_answers_total[5m]))", "{{outcome}}"),), "reqps", width=12),
    Panel("Probabilities compared with training", "Shares of customers by probability, last hour and training.",
          (("churn:score_bin_customers:share1h", "last hour"), ("churn:score_bin_training_share:max", "training")),
          "percentunit", "barchart", width=12),
)  # fmt: skip

DRIFT = (
    Panel("Stability index of the features, last hour", "Above 0.1: moderate drift; above 0.25: strong drift.",
          (("churn:feature_psi:1h", "{{feature}}"),), limits=(MODERATE, SEVERE), width=12),
    Panel("Stability index of the features, last day", "Above 0.1: moderate drift; above 0.25: strong drift.",
          (("churn:feature_psi:1d", "{{feature}}"),), limits=(MODERATE, SEVERE), width=12),
    Panel("Stability index of the score", "Above 0.1: moderate shift; above 0.25: strong shift.",
          (("churn:score_psi:1h", "last hour"), ("churn:score_psi:1d", "last day")), limits=(MODERATE, SEVERE)),
    Panel("Customers", "Customers scored in the windows; alerts need at least a thousand.",
          (("churn:score_customers:increase1h", "last hour"), ("churn:score_customers:increase1d", "last day"))),
    Panel("Missing values", "Share of customers in the last hour. 0 if the model does not allow missing values.",
          (("churn:feature_missing:ratio1h or churn:feature_customers:increase1h * 0", "{{feature}}"),),
          "percentunit"),
    Panel("Out of range", "Share of values in the last hour outside the range of the training data.",
          (("churn:feature_out_of_range:ratio1h", "{{feature}}"),), "percentunit"),
    Panel("Shares of the bins of $feature", "Shares of customers in a window of one hour, over time.",
          (('churn:feature_bin_customers:share1h{feature="$feature"}', "{{bin}}"),), "percentunit"),
    Panel("$feature compared with training", "Shares of customers in the last hour and in training.",
          (('churn:feature_bin_customers:share1h{feature="$feature"}', "last hour"),
           ('churn:feature_bin_training_share:max{feature="$feature"}', "training")), "percentunit", "barchart"),
)  # fmt: skip

PERFORMANCE = (
    Panel("Judged customers", "Of the newest judged month, by version.",
          (("max by (version) (churn_performance_customers)", "version {{version}}"),), kind="stat"),
    Panel("Days since the last judgement", "Run churn records judge when outcomes have been loaded.",
          (("(time() - max(churn_performance_judged_timestamp_seconds > 0)) / 86400", "days"),), "d", "stat",
          limits=(35, 45)),
    Panel("Age of the newest judged month", "Since its beginning; the horizon has to be over.",
          (("(time() - max(churn_performance_month_timestamp_seconds > 0)) / 86400", "days"),), "d", "stat"),
    *(Panel(title, f"{words} The newest judged month with its 95 % interval, what was expected, and training.",
            (*((f'max by (version) (churn_performance{{measure="{name}",bound="{bound}"}})',
                f"version {{{{version}}}}: {bound}") for bound in ("value", "low", "high")),
             (f'max by (version) (churn_performance_expected{{measure="{name}",bound="value"}})',
              "version {{version}}: expected"),
             (f'max by (version) (churn_performance_training{{measure="{name}",bound="value"}})',
              "version {{version}}: training")), unit)
      for name, title, words, unit in (
          ("roc_auc", "AUC", "Chance that a leaver was ranked above a stayer.", "short"),
          ("log_loss", "Log loss", "In nats; lower is better.", "short"),
          ("share_left", "Share who left", "Of the judged customers.", "percentunit"),
          ("precision", "Precision", "Share of leavers among those predicted to leave.", "percentunit"),
          ("recall", "Recall", "Share of the leavers who were predicted to leave.", "percentunit"),
          ("lift", "Lift", "Share of leavers in the tenth ranked highest, relative to all.", "short"))),
    *(Panel(title, f"{words} The newest judged month with its 95 % interval.",
            tuple((f'max by (version) (churn_performance{{measure="{name}",bound="{bound}"}})',
                   f"version {{{{version}}}}: {bound}") for bound in ("value", "low", "high")))
      for name, title, words in (
          ("calibration_slope", "Calibration slope", "1 is perfect; below 1: probabilities too extreme."),
          ("calibration_intercept", "Calibration intercept", "0 is perfect; above 0: more left than predicted."),
          ("calibration_error", "Calibration error", "Mean difference between predicted and observed shares."))),
    Panel("Forecast of the newest month", "What is to be expected, if the probabilities are calibrated.",
          ((('max by (measure) (churn_performance_forecast{bound="value",'
             'measure=~"roc_auc|precision|recall|share_left"})'), "{{measure}}"),), width=12),
    Panel("AUC by group", "By category or flag, in the newest judged month.",
          (('max by (feature, level) (churn_performance_group{measure="roc_auc",bound="value"})',
            "{{feature}}: {{level}}"),), width=12),
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
    """Return the JSON of every dashboard by file name."""
    return {
        "service-health.json": _make_dashboard("churn-health", "Churn: service health", "now-3h", HEALTH, []),
        "model-behaviour.json": _make_dashboard("churn-behaviour", "Churn: model behaviour", "now-24h", BEHAVIOUR, []),
        "performance.json": _make_dashboard("churn-performance", "Churn: performance", "now-90d", PERFORMANCE, []),
        "drift.json": _make_dashboard("churn-drift", "Churn: drift", "now-7d", DRIFT, [FEATURE]),
    }


def render(dashboard: dict[str, Any]) -> str:
    """Return the content of a dashboard's file."""
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
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }
    return made | (_join_bins(panel) if is_chart else {})


def _join_bins(panel: Panel) -> dict[str, Any]:
    """Return transformations that join the queries by bin into one table, with a column per query."""
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
