"""Figures of a judgement: measures by month, with what was expected, and subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from records.judging.measures import read_interval
from training.report.figures_groups import shorten
from training.report.svg import BLUE, GREEN, GREY, ORANGE, PAPER, render

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from churn.measures.intervals import Interval

MEASURES = (
    ("roc_auc", "AUC"),
    ("log_loss", "log loss (nats)"),
    ("share_left", "share who left"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("lift", "lift, top tenth"),
)
"""Drawn by month: name and title."""

CALIBRATION = (
    ("calibration_slope", "calibration slope", 1.0),
    ("calibration_intercept", "calibration intercept", 0.0),
    ("calibration_error", "calibration error", 0.0),
)
"""Likewise, with the value of perfect calibration."""

SMALL_GROUP = 100
"""Groups with fewer customers are in the table, but not in the figure."""


def draw_months(judgement: Mapping[str, Any]) -> list[Markup]:
    """Draw each measure by month: what came, what was expected, and the metric of the training."""
    months = judgement["months"]
    drawn = [_draw_measure(months, judgement["training"], name, title) for name, title in MEASURES]
    return drawn + [_draw_calibration(months, name, title, perfect) for name, title, perfect in CALIBRATION]


def _draw_measure(months: Sequence[Mapping[str, Any]], training: Mapping[str, Any], name: str, title: str) -> Markup:
    came = [read_interval(month["measures"], name) for month in months]
    expected = [read_interval(month["expected" if month["judged"] else "expected_of_all"], name) for month in months]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        low, high = ([getattr(one, end) for one in expected] for end in ("low", "high"))
        places = np.arange(len(months))
        axes.fill_between(places, low, high, color=ORANGE, alpha=0.18, linewidth=0, step="mid")
        axes.plot(places, [one.value for one in expected], "D", color=ORANGE, markersize=4, label="expected")
        _draw_intervals(axes, came, "came, 95% interval")
        newest = max(training, key=int, default=None)
        if newest is not None and name in training[newest]:
            axes.axhline(
                training[newest][name]["value"], color=GREEN, linewidth=1.2, label=f"training, version {newest}"
            )
        _finish(axes, months, title)
        if name in ("share_left", "precision", "recall"):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="best")

    return render(f"month-{name}", f"{title} by month", _tell(months, came), draw, (5.2, 3.2))


def _draw_calibration(months: Sequence[Mapping[str, Any]], name: str, title: str, perfect: float) -> Markup:
    came = [read_interval(month["measures"], name) for month in months]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axhline(perfect, color=GREY, linewidth=1)
        if name == "calibration_error":
            chance = [month["measures"].get("chance_calibration_error", np.nan) for month in months]
            axes.plot(np.arange(len(months)), chance, "_", color=GREY, markersize=12, label="chance alone, up to")
        _draw_intervals(axes, came, "95% interval")
        _finish(axes, months, title)
        axes.legend(loc="best")

    return render(f"month-{name}", f"{title} by month", _tell(months, came), draw, (5.2, 3.2))


def _draw_intervals(axes: Axes, values: Sequence[Interval], label: str) -> None:
    middle = np.array([one.value for one in values])
    low = np.nan_to_num(middle - [one.low for one in values])
    high = np.nan_to_num([one.high for one in values] - middle)
    spread = (np.maximum(low, 0), np.maximum(high, 0))
    axes.errorbar(np.arange(len(values)), middle, yerr=spread, fmt="o", color=BLUE, markeredgecolor=PAPER, label=label)


def _finish(axes: Axes, months: Sequence[Mapping[str, Any]], title: str) -> None:
    axes.set_xticks(np.arange(len(months)), [month["month"] for month in months], rotation=45, ha="right")
    axes.set_xlim(-0.5, len(months) - 0.5)
    axes.set_title(title, fontweight="bold")


def _tell(months: Sequence[Mapping[str, Any]], values: Sequence[Interval]) -> str:
    return ", ".join(f"{month['month']}: {one.value:.4g}" for month, one in zip(months, values, strict=True))


def draw_groups(groups: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Draw the share who left and the mean prediction of each group; None if all are small."""
    large = [group for group in groups if group["measures"]["customers"] >= SMALL_GROUP]
    if not large:
        return None
    observed = [read_interval(group["measures"], "share_left") for group in large]
    names = [f"{shorten(group['feature'])}: {shorten(group['level'])}" for group in large]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(large))
        middle = np.array([one.value for one in observed])
        spread = (middle - [one.low for one in observed], np.array([one.high for one in observed]) - middle)
        axes.errorbar(middle, places, xerr=spread, fmt="o", color=BLUE, label="left, 95% interval")
        means = [group["measures"]["mean_probability"] for group in large]
        axes.plot(means, places, "D", color=ORANGE, markersize=5, markeredgecolor=PAPER, label="mean prediction")
        axes.set_yticks(places, names)
        axes.set_ylim(len(large) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)

    text = ", ".join(f"{name} {one.value:.0%} left" for name, one in zip(names, observed, strict=True))
    return render("groups", "Predicted and observed share by group", text, draw, (5.4, 1.3 + 0.26 * len(large)))
