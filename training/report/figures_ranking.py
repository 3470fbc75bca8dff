"""Figures of the ranking: ROC, precision-recall, gains and lift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter

from training.report.curves import lift_by_tenth, rank_customers, thin
from training.report.svg import BEHIND, BLUE, GREEN, GREY, INK, MUTED, ORANGE, PAPER, render

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from training.evaluate import Part


def draw_roc(part: Part, threshold: float, auc: float) -> Markup:
    """Draw the ROC curve with the point of the threshold."""
    curve = rank_customers(part.labels, part.probabilities)
    bothered, found = thin(curve.bothered, curve.found)
    x, y = _at_threshold(part, threshold)[:2]

    def draw(figure: Figure) -> None:
        axes = _percent_axes(figure, "share of stayers contacted by mistake", "share of leavers found")
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        axes.plot(bothered, found, color=BLUE)
        axes.fill_between(bothered, found, color=BLUE, alpha=0.10, linewidth=0)
        axes.text(0.62, 0.55, "chance", color=MUTED, rotation=0)
        axes.text(0.97, 0.06, f"AUC {auc:.3f}", ha="right", fontsize=13, fontweight="bold")
        _mark(axes, x, y, f"threshold {threshold:g}")

    text = f"Area {auc:.3f}. At the threshold {y:.0%} of the leavers are found and {x:.0%} of the stayers contacted."
    return render("roc", "ROC curve", text, draw)


def draw_precision_recall(part: Part, threshold: float, average_precision: float) -> Markup:
    """Draw the precision-recall curve with the point of the threshold."""
    curve = rank_customers(part.labels, part.probabilities)
    recall, precision = thin(curve.found[1:], curve.precision)
    _, found, right = _at_threshold(part, threshold)

    def draw(figure: Figure) -> None:
        axes = _percent_axes(figure, "share of leavers found (recall)", "leavers among those contacted (precision)")
        axes.axhline(curve.base_rate, color=GREY, linestyle="--", linewidth=1)
        axes.text(0.02, curve.base_rate - 0.02, f"chance, {curve.base_rate:.1%}", color=MUTED, va="top")
        axes.plot(recall, precision, color=BLUE)
        axes.text(0.97, 0.94, f"average precision {average_precision:.3f}", ha="right", va="top", fontweight="bold")
        if right is not None:
            _mark(axes, found, right, f"threshold {threshold:g}", above=True)

    text = f"Average precision {average_precision:.3f}; contacting at random would reach {curve.base_rate:.3f}."
    return render("precision-recall", "Precision against recall", text, draw)


def draw_gains(part: Part) -> Markup:
    """Draw the cumulative gains: leavers found against customers contacted."""
    curve = rank_customers(part.labels, part.probabilities)
    contacted, found = thin(curve.contacted, curve.found)
    tenth, third = np.interp([0.1, 0.3], curve.contacted, curve.found).tolist()

    def draw(figure: Figure) -> None:
        axes = _percent_axes(figure, "share of customers contacted", "share of leavers found")
        axes.plot(
            [0, curve.base_rate, 1], [0, 1, 1], color=GREEN, linestyle=":", linewidth=1.5, label="perfect ranking"
        )
        axes.plot(contacted, found, color=BLUE, label="this model")
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
        for share, reached in ((0.1, tenth), (0.3, third)):
            axes.plot(share, reached, "o", color=ORANGE, markeredgecolor=PAPER)
            axes.annotate(
                f"{reached:.0%} of leavers\nin the top {share:.0%}",
                (share, reached),
                (9, -12),
                textcoords="offset points",
                va="top",
                bbox=BEHIND,
            )
        axes.legend(loc="lower right")

    text = f"The top tenth of the ranking has {tenth:.0%} of the leavers, the top 30 % has {third:.0%}."
    return render("gains", "Cumulative gains", text, draw)


def draw_lift(part: Part) -> Markup:
    """Draw the lift of each tenth and the cumulative lift."""
    tenths = lift_by_tenth(part.labels, part.probabilities)
    together = np.cumsum(tenths) / np.arange(1, 11)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        positions = np.arange(1, 11)
        axes.bar(positions, tenths, color=BLUE, width=0.7, label="in the tenth")
        axes.plot(positions, together, "o-", color=ORANGE, markersize=4, label="cumulative")
        axes.axhline(1, color=GREY, linestyle="--", linewidth=1)
        for position, value in zip(positions.tolist(), tenths.tolist(), strict=True):
            inside = value > 0.35 * float(np.nanmax(tenths))
            axes.annotate(
                f"{value:.1f}",
                (position, value),
                (0, (-13 if position == 1 else -4) if inside else 3),
                textcoords="offset points",
                ha="center",
                va="top" if inside else "bottom",
                color=PAPER if inside else INK,
                fontsize=9,
                bbox=None if inside else BEHIND,
            )
        axes.set_xticks(positions, [f"{10 * position}%" for position in positions.tolist()])
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("tenths of the customers, by descending probability")
        axes.set_ylabel("times as many leavers as on average")
        axes.legend(loc="upper right")

    text = "Lift by tenth: " + ", ".join(f"{value:.2f}" for value in tenths.tolist()) + "."
    return render("lift", "Lift by tenth of the ranking", text, draw)


def _percent_axes(figure: Figure, x: str, y: str) -> Axes:
    axes = figure.subplots()
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03), xlabel=x, ylabel=y)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return axes


def _at_threshold(part: Part, threshold: float) -> tuple[float, float, float | None]:
    selected, left = part.probabilities > threshold, part.labels == 1
    precision = float(left[selected].mean()) if selected.any() else None
    return float(selected[~left].mean()), float(selected[left].mean()), precision


def _mark(axes: Axes, x: float, y: float, words: str, *, above: bool = False) -> None:
    axes.plot(x, y, "o", color=ORANGE, markeredgecolor=PAPER, markersize=9, zorder=5)
    flip = x > 0.65
    axes.annotate(
        words,
        (x, y),
        (4 if flip else 10, (10 if flip else 5) if above else (-10 if flip else -3)),
        textcoords="offset points",
        ha="right" if flip else "left",
        va="bottom" if above else "top",
        bbox=BEHIND,
    )
