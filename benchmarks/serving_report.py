"""Table and plot of the results of `benchmarks/serving.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

Figures = dict[str, dict[str, list[dict[str, Any]]]]
"""Results by server (the limit first) and load: one entry per round, and one more for the limit."""

WHAT = {"rows": "customers/s", "rows_per_cpu": "customers per CPU second of the server"}
"""Figures of a closed loop: throughput, and throughput per CPU second of the server."""

COLORS = {"rows": "#3b6ea5", "rows_per_cpu": "#a9c4de"}


@dataclass(frozen=True)
class Point:
    """One kind of load."""

    key: str
    words: str
    customers: int
    connections: int
    rate: float | None = None
    """Constant arrivals per second, or None for a closed loop."""
    share: float = 0.0
    """Alternatively, a fraction of the limit's throughput at the previous point, the same rate for all servers."""

    @property
    def is_paced(self) -> bool:
        """Whether arrivals are constant, which gives unbiased latencies with several connections."""
        return self.rate is not None or self.share > 0

    @property
    def is_timed(self) -> bool:
        """Whether latencies are reported. On one connection in a closed loop, requests don't queue."""
        return self.is_paced or self.connections == 1


def describe(found: dict[str, Any]) -> str:
    """Format the figures of one load as a line."""
    what = f"{found['rows']:,.0f} customers/s"
    if found["rate"] is not None:
        what = f"p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms at {found['rate']:,.0f}/s"
    cpu = f"server {found['server_cpu']:.2f}, clients {found['client_cpu']:.2f}, others {found['others_cpu']:.2f} cores"
    return f"{what}; {cpu}" + (f"; {found['errors']} ERRORS" if found["errors"] else "")


def find_median(figures: Figures, name: str, point: Point, key: str) -> float:
    """Return the median over the rounds of a server."""
    return float(np.median([one[key] for one in figures[name][point.key]]))


def find_ratio(figures: Figures, name: str, point: Point, key: str) -> float:
    """Return the median ratio of a server's rounds to the mean of the limit's runs before and after each."""
    reference = [one[key] for one in next(iter(figures.values()))[point.key]]
    around = (np.array(reference[:-1]) + np.array(reference[1:])) / 2
    own = np.array([one[key] for one in figures[name][point.key]])
    return float(np.median(own[: len(around)] / around))


def write_table(figures: Figures, facts: dict[str, dict[str, float]], points: Sequence[Point]) -> str:
    """Return a Markdown table with figures and, in brackets, ratios to the limit."""
    names = list(figures)
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]

    def add(words: str, values: Iterable[str]) -> None:
        lines.append(f"| {words} | " + " | ".join(values) + " |")

    def add_ratios(words: str, point: Point, key: str, digits: int) -> None:
        pairs = ((find_median(figures, name, point, key), find_ratio(figures, name, point, key)) for name in names)
        add(words, (f"{median:,.{digits}f} ({ratio:.2f})" for median, ratio in pairs))

    for point in points:
        if point.is_timed:
            add_ratios(f"{point.words}: p50 ms", point, "p50", 2)
            p99 = [[one["p99"] for one in figures[name][point.key]] for name in names]
            over = [[one["p99"] / one["p50"] for one in figures[name][point.key]] for name in names]
            add("… p99 ms, median (best round)", (f"{np.median(one):.2f} ({min(one):.2f})" for one in p99))
            add("… p99 over p50, median (best round)", (f"{np.median(one):.1f} ({min(one):.1f})" for one in over))
        else:
            for key, words in WHAT.items():
                add_ratios(f"{point.words}: {words}", point, key, 0)
    add("memory when ready, RSS MB", (f"{facts[name]['fresh_rss']:.0f}" for name in names))
    add("memory at the end, RSS MB", (f"{facts[name]['rss']:.0f}" for name in names))
    add("… PSS MB", (f"{facts[name]['pss']:.0f}" for name in names))
    add("ready after, s", (f"{facts[name]['ready']:.2f}" for name in names))
    every = {name: [one for rounds in figures[name].values() for one in rounds] for name in names}
    for key, words in (("server_cpu", "the server"), ("client_cpu", "the clients"), ("others_cpu", "others")):
        spans = ([one[key] for one in every[name]] for name in names)
        add(f"cores used by {words}, minimum to maximum", (f"{min(span):.2f} to {max(span):.2f}" for span in spans))
    add("errors", (str(sum(one["errors"] for one in every[name])) for name in names))
    return "\n".join(lines) + "\n"


def draw(figures: Figures, points: Sequence[Point], target: Path) -> None:
    """Draw the throughput as multiples of the limit, as SVG and PNG."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    points = [point for point in points if not point.is_timed]
    names = list(figures)[1:]
    if not points or not names:
        return
    places = np.arange(len(names))
    size = (2.7 * len(points) + 1, 0.65 * len(names) + 1.7)
    figure, axes = plt.subplots(1, len(points), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, point in zip(axes[0], points, strict=True):
        widest = 1.0
        for key, offset in (("rows", -0.2), ("rows_per_cpu", 0.2)):
            ratios = [find_ratio(figures, name, point, key) for name in names]
            bars = axis.barh(places + offset, ratios, height=0.38, color=COLORS[key], label=WHAT[key])
            axis.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, bbox={"color": "white", "pad": 0.5})
            widest = max(widest, *ratios)
        axis.axvline(1, color="0.3", linewidth=1, zorder=0)
        axis.tick_params(labelsize=8)
        axis.set_xlim(0, widest * 1.25)
        axis.set_title(point.words.replace(", ", ",\n", 1), fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_yticks(places, names)
    axes[0][0].invert_yaxis()
    figure.supxlabel("as a multiple of the limit (line)", fontsize=9)
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(target)
    figure.savefig(target.with_suffix(".png"), dpi=120)
