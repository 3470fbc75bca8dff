"""Draw Grafana dashboards without Grafana, by running the queries of their panels over a time range."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import pyplot as plt
from matplotlib.ticker import EngFormatter, PercentFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from watching import Watcher

SHIPPED = Path(__file__).parents[1] / "deploy" / "grafana" / "dashboards"
COLUMN_INCHES, ROW_INCHES = 0.62, 0.4
STEP_SECONDS = 2
MAX_LEGENDS = 10
FEATURE = "Age"
"""Values of the dashboards' variables."""


def draw_dashboards(watcher: Watcher, folder: Path, start: float, end: float) -> None:
    """Write a PNG of each dashboard for a time range in seconds since the epoch."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(SHIPPED.glob("*.json")):
        dashboard = json.loads(path.read_text(encoding="utf-8").replace("$feature", FEATURE))
        picture = folder / f"{path.stem}.png"
        _draw(dashboard, watcher, picture, start, end)
        print(f"{picture}: {len(dashboard['panels'])} panels")


def _draw(dashboard: dict[str, Any], watcher: Watcher, picture: Path, start: float, end: float) -> None:
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = plt.figure(figsize=(24 * COLUMN_INCHES, rows * ROW_INCHES + 0.5), layout="constrained")
    grid = figure.add_gridspec(rows, 24)
    for panel in panels:
        place = panel["gridPos"]
        axes = figure.add_subplot(grid[place["y"] : place["y"] + place["h"], place["x"] : place["x"] + place["w"]])
        axes.set_title(panel["title"], fontsize=9, loc="left", fontweight="bold")
        axes.tick_params(labelsize=7)
        _KINDS[panel["type"]](axes, panel, watcher, start, end)
    figure.suptitle(dashboard["title"], fontsize=12)
    figure.savefig(picture, dpi=70)
    plt.close(figure)


def _draw_lines(axes: Axes, panel: dict[str, Any], watcher: Watcher, start: float, end: float) -> None:
    for target in panel["targets"]:
        for one in watcher.ask_range(target["expr"], start, end, STEP_SECONDS):
            times, values = zip(*((float(t) - start, float(v)) for t, v in one["values"]), strict=True)
            axes.plot(times, values, lw=1.2, label=_name(target, one["metric"]))
    _set_unit(axes, panel)
    top = axes.get_ylim()[1]
    for step, colour in zip(
        panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1:], ("goldenrod", "r"), strict=False
    ):
        if step["value"] < 2 * top:
            axes.axhline(step["value"], color=colour, ls="--", lw=0.8)
    axes.set_ylim(-0.03 * top, None)  # keeps a line at zero visible
    axes.set_xlabel("s", fontsize=7)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(handles[:MAX_LEGENDS], labels[:MAX_LEGENDS], fontsize=6, frameon=False, loc="best")


def _draw_numbers(axes: Axes, panel: dict[str, Any], watcher: Watcher, start: float, end: float) -> None:
    del start
    axes.set_axis_off()
    found = [
        f"{_name(target, one['metric'])}: {float(one['value'][1]):g}"
        for target in panel["targets"]
        for one in watcher.ask(f"({target['expr']})")
    ]
    del end
    axes.text(0.5, 0.5, "\n".join(found), ha="center", va="center", fontsize=13, color="tab:green")


def _draw_bars(axes: Axes, panel: dict[str, Any], watcher: Watcher, start: float, end: float) -> None:
    del start, end
    width = 0.8 / len(panel["targets"])
    for position, target in enumerate(panel["targets"]):
        shares = {one["metric"]["bin"]: float(one["value"][1]) for one in watcher.ask(target["expr"])}
        bins = sorted(shares, key=_lower_bound)
        places = [number + position * width for number in range(len(bins))]
        axes.bar(places, [shares[name] for name in bins], width, label=target["legendFormat"])
        axes.set_xticks(places, bins, rotation=60, ha="right", fontsize=6)
    _set_unit(axes, panel)
    axes.legend(fontsize=6, frameon=False)


def _lower_bound(label: str) -> float:
    found = re.match(r"[\[(]([-\d.e+]+|-inf),", label)
    return float(found[1]) if found else math.inf


def _name(target: dict[str, Any], labels: dict[str, str]) -> str:
    name: str = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), target["legendFormat"])
    return name


def _set_unit(axes: Axes, panel: dict[str, Any]) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if unit == "percentunit":
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    elif unit in {"s", "bytes"}:
        axes.yaxis.set_major_formatter(EngFormatter({"s": "s", "bytes": "B"}[unit]))


_KINDS = {"timeseries": _draw_lines, "stat": _draw_numbers, "barchart": _draw_bars}
