"""Compare judged performance with the truth of simulated customers, and find when each alert fires.

``python benchmarks/outcomes.py`` scores simulated customers of eight months with the included model, records them,
draws their outcomes from the known law, and judges each month as an operator would: when its horizon is over. From
the fifth month on, the law or the customers change. The truth of a month is computed from the true probabilities of a
million other customers: no outcome is drawn for it. Alerts are those of deploy/prometheus, evaluated by promtool on
the metrics that the service shows. Needs promtool.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from record_samples import write  # noqa: E402

from churn.measures import ranking, shares  # noqa: E402
from churn.measures.calibration import fit_intercept, fit_slope  # noqa: E402
from churn.measures.influence import SMALLEST  # noqa: E402
from churn.measures.sample import Sample  # noqa: E402
from churn.scorer import load_scorer  # noqa: E402
from records import times  # noqa: E402
from records.decision import Decision  # noqa: E402
from records.judging.judge import Plan, judge  # noqa: E402
from records.judging.outcome_file import read_outcomes  # noqa: E402
from records.judging.outcomes import load_outcomes  # noqa: E402
from records.store import open_store  # noqa: E402
from service.observe.performance_metrics import PerformanceMetrics  # noqa: E402
from training.simulate import PUBLIC, Population, simulate  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from churn.scorer import Scorer

    Columns = Mapping[str, NDArray[Any]]
    Law = Callable[[Columns, NDArray[np.float64]], NDArray[np.float64]]

MONTHS, CHANGE, HORIZON = 8, 5, 30
"""Months, the first one that is changed, and days."""

MEASURES = ("share_left", "roc_auc", "log_loss", "precision", "recall", "lift", "calibration_slope",
            "calibration_intercept", "calibration_error")  # fmt: skip
ALERTS = ("ChurnPerformanceBelowTraining", "ChurnCalibrationOff", "ChurnPerformanceUnexpected")

SCENARIOS: dict[str, tuple[str, Law, Population]] = {
    "none": ("nothing changes", lambda _, odds: odds, PUBLIC),
    "level": ("odds of leaving times 1.5", lambda _, odds: odds + np.log(1.5), PUBLIC),
    "slope": ("log odds of leaving times 0.7", lambda _, odds: 0.7 * odds, PUBLIC),
    "group": ("odds of Germans times 3", lambda columns, odds: odds + np.log(3) * _are_german(columns), PUBLIC),
    "small": ("odds of leaving times 1.1", lambda _, odds: odds + np.log(1.1), PUBLIC),
    "customers": ("older and richer customers, same law", lambda _, odds: odds, Population.older_richer()),
}


def _are_german(columns: Columns) -> NDArray[np.float64]:
    return (columns["Geography"] == "Germany").astype(np.float64)


def draw(
    scorer: Scorer, rows: int, seed: int, law: Law, population: Population
) -> tuple[Columns, NDArray[np.float64], NDArray[np.float64]]:
    """Return customers with their scores and their true probabilities of leaving."""
    columns = simulate(rows, seed, truth=True, population=population)
    true = columns["TrueProbability"]
    changed = 1 / (1 + np.exp(-law(columns, np.log(true / (1 - true)))))
    return columns, scorer.score({name: columns[name] for name in scorer.schema.names}), changed


def find_truth(scorer: Scorer, law: Law, population: Population, rows: int) -> dict[str, float]:
    """Return the measures of the scores, computed from true probabilities in place of outcomes."""
    _, scores, true = draw(scorer, rows, 999, law, population)
    sample, _ = Sample.of(true, scores, scorer.decide(scores))
    clipped = np.clip(scores, SMALLEST, 1 - SMALLEST)
    slope, intercept = fit_slope(sample), fit_intercept(sample)
    if slope is None or intercept is None:
        raise RuntimeError("the probabilities can't be recalibrated")
    return {
        "share_left": float(true.mean()),
        "roc_auc": ranking.roc_auc(sample.ranking, np.ones(rows)),
        "log_loss": float(-(true * np.log(clipped) + (1 - true) * np.log1p(-clipped)).mean()),
        "precision": float(true[scorer.decide(scores)].mean()),
        "recall": float(true @ scorer.decide(scores) / true.sum()),
        "lift": shares.lift(true, scores),
        "calibration_slope": slope.value,
        "calibration_intercept": intercept.value,
        "calibration_error": shares.calibration_error(true, scores),
    }


def run(scorer: Scorer, scenario: str, customers: int, seed: int) -> list[dict[str, Any]]:
    """Record and judge all months; return the judgement that was made when each month could be judged."""
    _, law, population = SCENARIOS[scenario]
    manifests = {scorer.version: scorer.manifest}
    judged = []
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/records.db", create=True)
        for month in range(1, MONTHS + 1):
            changed = month >= CHANGE
            now = law if changed else SCENARIOS["none"][1]
            columns, scores, true = draw(scorer, customers, seed + month, now, population if changed else PUBLIC)
            left = np.random.default_rng(seed + 500 + month).random(customers) < true
            write(store, _decide(scorer, columns, scores, month))
            path = Path(folder) / "outcomes.csv"
            path.write_text(_tell(columns, left, month, seed + month))
            load_outcomes(store, read_outcomes(path))
            # The next month is not recorded yet, so this one is the newest.
            end = datetime(2025, month + 1, 1, tzinfo=UTC) + timedelta(days=HORIZON + 1)
            judged.append(judge(store, Plan(HORIZON, 1, times.from_datetime(end)), manifests))
    return judged


def _decide(scorer: Scorer, columns: Columns, scores: NDArray[np.float64], month: int) -> list[Decision]:
    cells = {name: columns[name].tolist() for name in scorer.schema.names}
    digest, found = str(scorer.manifest.content["manifest_sha256"]), []
    for row, (score, is_churn) in enumerate(zip(scores.tolist(), scorer.decide(scores).tolist(), strict=True)):
        moment = times.from_datetime(datetime(2025, month, 1 + row % 28, 12, tzinfo=UTC))
        sent = json.dumps({name: column[row] for name, column in cells.items()})
        found.append(Decision(moment, f"{month}-{row}", None, _name(columns, row, month), sent, score, is_churn,
                              scorer.threshold, scorer.version, digest, scorer.engine.name))  # fmt: skip
    return found


def _name(columns: Columns, row: int, month: int) -> str:
    return f"{month}-{columns['CustomerId'][row]}"


def _tell(columns: Columns, left: NDArray[np.bool_], month: int, seed: int) -> str:
    after = np.random.default_rng(seed).integers(0, HORIZON + 1, len(left))
    lines = ["customer,date,left"]
    for row, gone in enumerate(left.tolist()):
        day = datetime(2025, month, 1 + row % 28, tzinfo=UTC) + timedelta(days=int(after[row]) if gone else HORIZON)
        lines.append(f"{_name(columns, row, month)},{day:%Y-%m-%d},{int(gone)}")
    return "\n".join(
        [*lines, f"nobody,{datetime(2025, month + 1, 1, tzinfo=UTC) + timedelta(days=HORIZON):%Y-%m-%d},0"]
    )


def fires(judgement: Mapping[str, Any], alert: str) -> bool:
    """Return whether an alert of deploy/prometheus fires on the metrics of a judgement, as promtool says."""
    registry = CollectorRegistry()
    PerformanceMetrics(registry).show(judgement)
    series = [
        {"series": sample.name + "{" + ",".join(f'{k}="{v}"' for k, v in sample.labels.items()) + "}",
         "values": f"{sample.value}x3"}
        for metric in registry.collect() for sample in metric.samples if sample.labels.get("version") != "all"
    ]  # fmt: skip
    case = {
        "interval": "1h",
        "input_series": series,
        "alert_rule_test": [{"alertname": alert, "eval_time": "2h", "exp_alerts": []}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.yml"
        rules = [str(ROOT / "deploy/prometheus/rules/alerts.yml")]
        path.write_text(yaml.safe_dump({"rule_files": rules, "evaluation_interval": "1h", "tests": [case]}))
        done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    if done.returncode and f"alertname: {alert}" not in done.stdout + done.stderr:
        raise RuntimeError(done.stdout + done.stderr)
    return bool(done.returncode)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=5000, help="per month")
    parser.add_argument("--truth-rows", type=int, default=1_000_000)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    chosen = parser.parse_args()
    scorer = load_scorer(ROOT / "models" / "1", "onnx")
    usual = find_truth(scorer, SCENARIOS["none"][1], PUBLIC, chosen.truth_rows)
    inside = dict.fromkeys(MEASURES, 0)
    total = 0
    for place, scenario in enumerate(chosen.scenarios):
        words, law, population = SCENARIOS[scenario]
        later = find_truth(scorer, law, population, chosen.truth_rows)
        judged = run(scorer, scenario, chosen.customers, 1000 * place)
        print(f"\n{scenario}: {words}, from month {CHANGE} on; {chosen.customers:,} customers a month")
        print(f"{'':<24}{'true':>9}{'judged, 95 % interval':>32}   {'expected before':>16}")
        for name in MEASURES:
            measures = judged[-1]["months"][-1]["measures"][name]
            expected = (judged[-1]["months"][-1]["expected"].get(name) or {}).get("value")
            told = "" if expected is None else f"{expected:.4f}"
            interval = f"{measures['value']:.4f} ({measures['low']:.4f} to {measures['high']:.4f})"
            print(f"{name:<24}{later[name]:>9.4f}{interval:>32}   {told:>16}")
            for month, judgement in enumerate(judged, 1):
                found = judgement["months"][-1]["measures"][name]
                inside[name] += found["low"] <= (later if month >= CHANGE else usual)[name] <= found["high"]
        total += MONTHS
        for alert in ALERTS:
            when = [month for month, judgement in enumerate(judged, 1) if fires(judgement, alert)]
            print(f"  {alert} fires in months {', '.join(map(str, when)) or 'none'}")
    print(f"\nintervals that have the true value, of {total} months:")
    for name in MEASURES:
        print(f"  {name:<24}{inside[name]:>4} ({inside[name] / total:.0%})")


if __name__ == "__main__":
    main()
