"""Figures of calibration and profit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from training.report.curves import calibration_bins, thin
from training.report.profit import profit_at, profit_curve
from training.report.svg import BEHIND, BLUE, GREEN, GREY, MUTED, ORANGE, PAPER, render

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from training.evaluate import Part
    from training.report.data import Costs


def draw_calibration(part: Part) -> Markup:
    """Draw the reliability diagram with a histogram below it."""
    bins = calibration_bins(part.labels, part.probabilities)

    def draw(figure: Figure) -> None:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1.25))
        upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        observed = np.array([one.observed.value for one in bins])
        low = observed - [one.observed.low for one in bins]
        high = [one.observed.high for one in bins] - observed
        upper.errorbar(
            [one.predicted for one in bins],
            observed,
            (low, high),
            fmt="o",
            color=BLUE,
            markeredgecolor=PAPER,
            elinewidth=1.2,
        )
        upper.set(xlim=(0, 1), ylim=(-0.02, 1.02), ylabel="share who left")
        upper.yaxis.set_major_formatter(PercentFormatter(1))
        upper.text(0.03, 0.93, "above: more leave than predicted", color=MUTED, va="top")
        middles = [(one.low + one.high) / 2 for one in bins]
        width = 0.9 * (bins[0].high - bins[0].low)
        stayed = [one.customers - one.leavers for one in bins]
        lower.bar(middles, stayed, width=width, color=GREY, label="stayed")
        lower.bar(middles, [one.leavers for one in bins], width=width, bottom=stayed, color=ORANGE, label="left")
        top = max(one.customers for one in bins)
        for middle, one in zip(middles, bins, strict=True):
            lower.text(middle, one.customers + 0.03 * top, f"{one.customers:,}", ha="center", fontsize=7, color=MUTED)
        lower.set(ylim=(0, 1.22 * top), xlabel="predicted probability of leaving", ylabel="customers")
        lower.grid(visible=False)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        lower.xaxis.set_major_formatter(PercentFormatter(1))
        lower.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)  # above the bars

    text = "; ".join(
        f"{one.customers} customers predicted {one.predicted:.0%}, {one.observed.value:.0%} left" for one in bins
    )
    return render("calibration", "Reliability diagram", text, draw, (5.4, 4.8))


def draw_profit(part: Part, costs: Costs, threshold: float, break_even: float | None) -> Markup:
    """Draw profit against threshold."""
    thresholds, _, profits = thin(*profit_curve(part.labels, part.probabilities, costs))
    marks = [(threshold, f"threshold {threshold:g}", ORANGE, "-")]
    if break_even is not None:
        marks.append((break_even, f"break-even {break_even:.3f}", GREEN, "--"))

    def draw(figure: Figure) -> None:
        axes, top, span = _profit_axes(figure, thresholds, profits)
        for row, (value, words, colour, dashes) in enumerate(marks):
            flip = value > 0.6
            axes.axvline(value, color=colour, linestyle=dashes, linewidth=1.3)
            axes.annotate(
                words,
                (value, top + (0.18 - 0.08 * row) * span),
                (-4 if flip else 4, 0),
                textcoords="offset points",
                ha="right" if flip else "left",
                va="center",
                bbox=BEHIND,
            )
        axes.set_xlabel("threshold: customers above it are contacted")

    earned = profit_at(part.labels, part.probabilities, threshold, costs)
    text = f"At the threshold in use the profit per customer is {earned:.2f}."
    return render("profit", "Profit by threshold", text, draw)


def draw_profit_by_share(part: Part, costs: Costs) -> Markup:
    """Draw profit against the share of customers contacted."""
    _, shares, profits = thin(*profit_curve(part.labels, part.probabilities, costs))
    best = int(profits.argmax())

    def draw(figure: Figure) -> None:
        axes, _, _ = _profit_axes(figure, shares, profits)
        axes.plot(shares[best], profits[best], "o", color=GREEN, markeredgecolor=PAPER, markersize=9, zorder=5)
        axes.annotate(
            f"best here: {profits[best]:.2f}\nat {shares[best]:.0%} contacted",
            (shares[best], profits[best]),
            (0, 10),
            textcoords="offset points",
            ha="right" if shares[best] > 0.6 else "left",
            va="bottom",
        )
        axes.set_xlabel("share of customers contacted, by descending probability")

    text = (
        f"The profit per customer is at most {profits[best]:.2f}, with {shares[best]:.0%} of the customers contacted, "
        f"and {profits[-1]:.2f} when all are."
    )
    return render("profit-by-share", "Profit by share contacted", text, draw)


def _profit_axes(figure: Figure, x: NDArray[np.float64], profits: NDArray[np.float64]) -> tuple[Axes, float, float]:
    axes = figure.subplots()
    top, bottom = max(float(profits.max()), 0.0), min(float(profits.min()), 0.0)
    span = (top - bottom) or 1.0
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(x, profits, color=BLUE)
    axes.set(xlim=(0, 1), ylim=(bottom - 0.05 * span, top + 0.24 * span), ylabel="profit per customer")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return axes, top, span
