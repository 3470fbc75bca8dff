"""Demonstrate drift in Prometheus: customers as in training, followed by an older, richer population.

``python benchmarks/drift.py --curve docs/drift.svg --dashboards docs/dashboards``. Two workers serve a model,
Prometheus scrapes them with the included rules and shorter windows (an hour becomes a minute), and customers are drawn
from the simulator. Prints the indices and all pending and firing alerts; draws the curve and the dashboards.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from panels import draw_dashboards
from servers import launch, ours
from tqdm import tqdm
from watching import Traffic, draw, watch

from training.simulate import Population

if TYPE_CHECKING:
    from watching import Watcher

OLDER_RICHER = Population(mean_age=44.2, mean_balance=150_000.0)
"""Five years older, with balances a quarter higher, otherwise like the public table. `Population.older_richer` also
has higher salaries and different scores, which is drift as well."""

WINDOWS = {"1h": "60s", "1d": "120s", "5m": "30s"}
STEP_SECONDS = 2


def main() -> None:
    """Run the service, Prometheus and the traffic; print and draw the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the model versions")
    parser.add_argument("--before", type=float, default=120, help="seconds with customers as in training")
    parser.add_argument("--after", type=float, default=180, help="seconds with older, richer customers")
    parser.add_argument("--curve", type=Path, help="file for a figure of the index (.svg, .png)")
    parser.add_argument("--dashboards", type=Path, help="folder for a figure of each dashboard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "prometheus").mkdir()
        with (
            launch(ours("onnx", options.models, workers=2), draw(1, 0), folder / "log") as running,
            watch(running.port, folder / "prometheus", WINDOWS, "10s") as watcher,
            Traffic(running.port).flow() as traffic,
        ):
            started = time.time()
            _wait(options.before, "customers as in training")
            turned = time.time()
            traffic.population = OLDER_RICHER
            _wait(options.after, "an older, richer population")
            ended = time.time()
            print(f"{traffic.requests} requests succeeded, {traffic.mistakes} failed")
            _print_indices(watcher, turned, ended)
            _print_alerts(watcher, started, turned, ended)
            if options.curve:
                _draw_curve(watcher, options.curve, started, turned, ended)
            if options.dashboards:
                draw_dashboards(watcher, options.dashboards, started, ended)


def _wait(seconds: float, what: str) -> None:
    for _ in tqdm(range(round(seconds)), desc=what, unit="s", disable=not sys.stderr.isatty()):
        time.sleep(1)


def _print_indices(watcher: Watcher, turned: float, ended: float) -> None:
    print(f"{'index of the last minute':30s} {'before':>8s} {'after':>8s}")
    for query, name in (("churn:feature_psi:1h", "feature"), ("churn:score_psi:1h", "")):
        values = [
            {one["metric"].get(name, "score"): float(one["value"][1]) for one in watcher.ask(f"{query} @ {moment:.3f}")}
            for moment in (turned, ended)
        ]
        for key in values[1]:
            print(f"{key:30s} {values[0].get(key, float('nan')):8.4f} {values[1][key]:8.4f}")


def _print_alerts(watcher: Watcher, started: float, turned: float, ended: float) -> None:
    seen = watcher.ask_range("ALERTS", started, ended, 1)
    print("alerts" if seen else "no alert")
    for one in sorted(seen, key=lambda one: float(one["values"][0][0])):
        labels = {key: value for key, value in one["metric"].items() if key not in {"__name__", "alertname"}}
        words = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
        first, last = (float(one["values"][end][0]) - turned for end in (0, -1))
        print(f"  {first:+6.0f} s to {last:+6.0f} s  {one['metric']['alertname']}: {words}")


def _draw_curve(watcher: Watcher, path: Path, started: float, turned: float, ended: float) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for query, name in (("churn:feature_psi:1h", "feature"), ("churn:score_psi:1h", "")):
        for one in watcher.ask_range(query, started, ended, STEP_SECONDS):
            times, values = zip(*((float(t) - turned, float(v)) for t, v in one["values"]), strict=True)
            label = one["metric"].get(name, "the score")
            is_loud = max(values) > 0.05
            axes.plot(times, values, label=label if is_loud else None, color=None if is_loud else "0.7", lw=1.8)
    firing = watcher.ask_range('count(ALERTS{alertstate="firing",severity="critical"})', started, ended, 1)
    if firing:
        begin, end = (float(firing[0]["values"][position][0]) - turned for position in (0, -1))
        axes.axvspan(begin, end, color="tab:red", alpha=0.08, label="critical alert fires")
    axes.axhline(0.1, color="goldenrod", ls="--", lw=1)
    axes.axhline(0.25, color="tab:red", ls="--", lw=1)
    axes.axvline(0, color="0.3", ls=":", lw=1)
    axes.set(
        xlabel="seconds since the customers became older and richer (an hour's window is a minute here)",
        ylabel="population stability index",
        ylim=(0, None),
        title="Population stability index, computed by Prometheus over two workers",
    )
    axes.plot([], [], color="0.7", label="other features")
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


if __name__ == "__main__":
    main()
